"""A job to what a worker is told: its inputs, and for each distinct profile of its destinations what to build."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from dicom_node import task
from dicom_node.instance_store import InstanceStore
from dicom_node.ledger import Job, Ledger
from dicom_node.offers import Offers, fitted
from dicom_node.results import Predecessor
from dicom_node.settings import DEFAULT_PROFILE, NoticeKind, ResultKind, ResultProfile, Settings
from dicom_node.wanted import local_offset_minutes


def order_of(job: Job, ledger: Ledger, store: InstanceStore, settings: Settings, offers: Offers) -> task.Order:
    """Return the order of a claimed job; what its destinations accept is asked of `offers`."""
    fetch = ledger.fetches.of_job(job.id)
    priors = {} if fetch is None else fetch.inputs
    products = _grouped(job, ResultProfile.content, ledger, settings, offers)
    notices = _grouped(job, lambda profile: f"{profile.not_run} {profile.content()}", ledger, settings, offers)
    return task.Order(
        name=f"J{job.id}",
        pipeline=job.pipeline,
        settings=job.settings,
        inputs={role: ledger.studies.refs(paths) for role, paths in job.inputs.items()},
        priors={role: ledger.studies.refs(paths) for role, paths in priors.items()},
        created_at=job.created_at,
        store=store.root,
        node_name=settings.node.name,
        # of a job without a destination one product for nobody is built all the same
        products=products or (task.Product(settings.profile()),),
        notices=tuple(product for product in notices if product.profile.not_run is not NoticeKind.NONE),
        device=settings.compute.device,
        utc_offset_minutes=local_offset_minutes(job.created_at),
    )


def _grouped(
    job: Job, key: Callable[[ResultProfile], str], ledger: Ledger, settings: Settings, offers: Offers
) -> tuple[task.Product, ...]:
    """Return one product for those destinations together that the key calls alike."""
    profiles = {each.name: each.profile for each in settings.destinations}
    products: dict[str, task.Product] = {}
    for name in job.destinations:
        chosen = job.terms.profiles.get(name) or profiles.get(name, DEFAULT_PROFILE)
        profile = fitted(settings.profile(chosen), offers.of(name))
        known = products.get(key(profile), task.Product(profile))
        products[key(profile)] = replace(known, destinations=(*known.destinations, name))
    return tuple(
        replace(each, predecessor=_predecessor(job, each.destinations, ledger)) for each in products.values()
    )


def _predecessor(job: Job, destinations: Sequence[str], ledger: Ledger) -> Predecessor | None:
    """Return the report of an earlier revision that the same destinations were sent, if there is one."""
    earlier = None if job.terms.beside else ledger.jobs.superseded(job, ResultKind.REPORT, destinations)
    if earlier is None:
        return None
    return Predecessor(
        earlier.study_instance_uid, earlier.series_instance_uid, earlier.sop_class_uid, earlier.sop_instance_uid
    )
