"""Label Studio's WSGI application, with TIFF images made visible."""

from core.wsgi import application as label_studio

from labelloop.settings import get_settings
from provisioner.tiff import TiffAsPng

application = TiffAsPng(label_studio, get_settings().labelstudio_dir)
