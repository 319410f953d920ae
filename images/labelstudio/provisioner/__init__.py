"""Label Studio as the appliance runs it, and what provisions it: account, project, storage, backend."""
