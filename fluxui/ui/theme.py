"""How the page looks: the Gradio theme, the style sheet and the keyboard script.

Greys and one teal; the colour belongs to the pictures. Everything is served from here: no font,
script or style comes from another host.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent

TEAL = gr.themes.Color(
    name="teal",
    c50="#effaf8",
    c100="#d3f2ec",
    c200="#a8e4da",
    c300="#72cfc2",
    c400="#3fb2a5",
    c500="#1f968a",
    c600="#13786f",
    c700="#115f59",
    c800="#114b47",
    c900="#113e3b",
    c950="#06211f",
)

# The bundled Plex in weight 600 lacks most Latin letters; 700 is whole.
BOLD = "700"


def theme() -> gr.themes.Base:
    """Gradio's default without its boxes in boxes."""
    base = gr.themes.Default(
        primary_hue=TEAL,
        secondary_hue=TEAL,
        neutral_hue="zinc",
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_md,
        font=[
            gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)),
            "system-ui",
            "sans-serif",
        ],
        font_mono=[gr.themes.LocalFont("IBM Plex Mono", weights=(400, 700)), "monospace"],
    )
    return base.set(**_both(_FLAT), **_LIGHT_AND_DARK)


_FLAT = {
    "block_background_fill": "transparent",
    "block_border_width": "0px",
    "block_shadow": "none",
    "block_label_background_fill": "transparent",
}

_LIGHT_AND_DARK = {
    "block_padding": "0px",
    "block_title_text_size": "13px",
    "block_title_text_weight": BOLD,
    "block_title_text_color": "*neutral_600",
    "block_title_text_color_dark": "*neutral_300",
    "block_info_text_color": "*neutral_500",
    "block_info_text_color_dark": "*neutral_400",
    "input_padding": "10px 12px",
    "input_radius": "*radius_lg",
    "input_background_fill": "white",
    "input_background_fill_dark": "*neutral_800",
    "input_border_color": "*neutral_300",
    "input_border_color_dark": "*neutral_700",
    "input_placeholder_color": "*neutral_500",
    "input_placeholder_color_dark": "*neutral_400",
    "layout_gap": "14px",
    "form_gap_width": "0px",
    "button_border_width": "1px",
    "button_border_width_dark": "1px",
    "button_large_text_weight": BOLD,
    "button_medium_text_weight": BOLD,
    "button_small_text_weight": "400",
    "button_large_text_size": "15px",
    "button_large_padding": "12px 20px",
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_hover": "*primary_700",
    "button_primary_background_fill_dark": "*primary_600",
    "button_primary_background_fill_hover_dark": "*primary_500",
    "button_primary_border_color": "*primary_600",
    "button_primary_border_color_dark": "*primary_600",
    "button_primary_text_color": "white",
    "button_secondary_background_fill": "white",
    "button_secondary_background_fill_hover": "*neutral_100",
    "button_secondary_background_fill_dark": "*neutral_900",
    "button_secondary_background_fill_hover_dark": "*neutral_800",
    "button_secondary_border_color": "*neutral_300",
    "button_secondary_border_color_dark": "*neutral_700",
    "color_accent": "*primary_600",
    "body_background_fill": "*neutral_50",
    "body_background_fill_dark": "*neutral_950",
    "body_text_color_subdued": "*neutral_500",
    "body_text_color_subdued_dark": "*neutral_400",
}


def _both(values: dict[str, str]) -> dict[str, str]:
    """The same value in light and in dark."""
    return values | {f"{name}_dark": value for name, value in values.items()}


# What `Blocks.launch` takes; whoever starts the server adds host, port and the rest.
LAUNCH: dict[str, Any] = {
    "theme": theme(),
    "css": (HERE / "page.css").read_text(encoding="utf-8"),
    "head": f"<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>",
    "favicon_path": HERE / "favicon.svg",
    "footer_links": [],
}
