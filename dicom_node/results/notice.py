"""What tells a reader, in the study itself, that a pipeline did not run, and why (`not_run` of a result profile)."""

from collections.abc import Callable, Mapping
from typing import Final

from dicom_node.results.not_run import NotRun
from dicom_node.results.notice_picture import build_notice_picture
from dicom_node.results.notice_report import build_notice_report
from dicom_node.results.objects import BuiltObject
from dicom_node.settings import NoticeKind

#: Returns the objects of one kind of notice.
NoticeBuilder = Callable[[NotRun], tuple[BuiltObject, ...]]

NOTICE_BUILDERS: Final[Mapping[NoticeKind, NoticeBuilder]] = {
    NoticeKind.REPORT: build_notice_report,
    NoticeKind.PICTURE: build_notice_picture,
}


def build_notice(not_run: NotRun) -> tuple[BuiltObject, ...]:
    """Return the notice that the profile wants; nothing, if it wants none."""
    builder = NOTICE_BUILDERS.get(not_run.run.profile.not_run)
    return builder(not_run) if builder else ()
