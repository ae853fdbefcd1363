"""A DICOM node that puts AI into a hospital's existing PACS.

The Implementation Class UID and Version Name (PS3.7 D.3.3.2) identify this software in every association and
in the File Meta Information of every object it writes.
"""

from typing import Final

__version__: Final = "0.1.0"

#: PS3.7 D.3.3.2.1; derived from a UUID as PS3.5 B.2 allows, and never changed.
IMPLEMENTATION_CLASS_UID: Final = "2.25.122433745425741483109975033710555241436"
#: PS3.7 D.3.3.2.2, at most 16 characters.
IMPLEMENTATION_VERSION_NAME: Final = f"DICOM_NODE_{__version__.replace('.', '')}"
#: Manufacturer (0008,0070) of every object this software makes; the loop guard recognises it.
MANUFACTURER: Final = "dicom_node"
