"""The pipelines that come with the node; each is found by its entry point (group `dicom_node.pipelines`).

They import only the contract, entities, errors and geometry of `dicom_node`, as a hospital's own pipeline would.
"""
