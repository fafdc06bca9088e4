"""Self-contained HTML pages: templates with escaping, pictures inside, nothing from the network."""

import base64
import io
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from PIL import Image

import fmsel


def render(template: str, **context: Any) -> str:
    """Fill a template of `report/templates`; values are escaped unless they are `Markup`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fmsel.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(context, version=fmsel.__version__)


def image_uri(pixels: npt.NDArray[np.uint8]) -> Markup:
    """A data URI of an image, as a lossless PNG in its own size.

    Args:
        pixels: (H, W, 3) uint8.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return png_uri(buffer.getvalue())


def png_uri(png: bytes) -> Markup:
    """A data URI of a PNG file."""
    return Markup("data:image/png;base64," + base64.b64encode(png).decode("ascii"))
