"""The viewer of a study's page: one slice at a time, what was marked on it, and four sliders."""

from dicom_node.admin.pages.frame import Visit
from dicom_node.admin.pages.words import Html, joined, tag
from dicom_node.admin.preview import Extent, colours
from dicom_node.admin.queries.story import Story


def preview_html(visit: Visit, story: Story, series: str, extent: Extent, job: int | None) -> Html:
    """Return the viewer; `static/preview.js` moves it."""
    base = f"{visit.root}/api/studies/{story.study_instance_uid}/series/{series}"
    marked = bool(extent.segments)
    pictures = tag(
        "div",
        Html('<img alt="Slice of the series">'),
        Html('<img alt="What the pipeline marked on this slice" style="opacity:.8">') if marked else "",
        class_="pictures",
    )
    span = extent.brightest - extent.darkest or 1.0
    sliders = [
        _slider("Slice", "slice", 0, extent.slices - 1, extent.slices // 2, 1),
        _slider("Marks: opacity", "opacity", 0, 1, 0.8, 0.05) if marked else "",
        _slider("Window centre", "centre", extent.darkest, extent.brightest, extent.centre, span / 500),
        _slider("Window width", "width", span / 500, 2 * span, extent.width, span / 500),
    ]
    told = [
        tag("p", "Slice ", Html('<output for="slice"></output>')),
        tag("p", "Centre / width ", Html('<output for="window"></output>')),
    ]
    legend = [
        tag("span", Html(f'<i style="background:{colour}"></i>'), f" {label}")
        for label, colour in zip(extent.segments, colours(len(extent.segments)), strict=True)
    ]
    notice = tag("p", "For orientation only, not for diagnosis.", class_="small")
    controls = tag("div", *sliders, *told, tag("p", joined(legend), class_="legend"), notice, class_="controls")
    return tag("div", pictures, controls, class_="preview", data_base=base, data_job=job if marked else None)


def _slider(label: str, name: str, low: float, high: float, value: float, step: float) -> Html:
    return tag(
        "label",
        label,
        Html(f'<input type="range" name="{name}" min="{low:g}" max="{high:g}" step="{step:g}" value="{value:g}">'),
    )
