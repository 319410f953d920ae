"""Label Studio's WSGI application, with TIFF images made visible."""

from core.wsgi import application as label_studio

from provisioner.tiff import TiffAsPng

application = TiffAsPng(label_studio)
