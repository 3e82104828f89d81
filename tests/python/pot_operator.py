"""An operator as people write them with kopf: a Pot holds plants, each of which is a ConfigMap."""

import kopf
from kubernetes import client, config


@kopf.on.startup()
def configure(settings, **_):
    config.load_kube_config()
    settings.persistence.finalizer = "pots.example.com/operator"
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="pots.example.com")


@kopf.on.create("example.com", "v1", "pots")
def create(spec, name, namespace, patch, body, retry, logger, **_):
    if retry == 0:
        raise kopf.TemporaryError("the soil is not there yet", delay=0.2)
    plant = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"plant": spec["plant"]}}
    kopf.adopt(plant)
    kopf.label(plant, {"pot": name})
    client.CoreV1Api().create_namespaced_config_map(namespace, plant)
    patch.status["phase"] = "Planted"
    kopf.event(body, type="Normal", reason="Planted", message=f"planted a {spec['plant']}")
    logger.info("planted %s after %d attempts", name, retry)
    return {"attempts": retry + 1}


@kopf.on.update("example.com", "v1", "pots", field="spec.plant")
def replant(old, new, name, namespace, patch, **_):
    client.CoreV1Api().patch_namespaced_config_map(name, namespace, {"data": {"plant": new}})
    patch.status["phase"] = f"Replanted from {old} to {new}"


@kopf.on.resume("example.com", "v1", "pots")
def resume(patch, status, **_):
    patch.status["resumed"] = status.get("resumed", 0) + 1


@kopf.timer("example.com", "v1", "pots", interval=0.5)
def water(patch, status, **_):
    patch.status["watered"] = status.get("watered", 0) + 1


@kopf.on.delete("example.com", "v1", "pots")
def delete(name, namespace, spec, **_):
    compost = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"{name}-compost"), data={"plant": spec["plant"]})
    client.CoreV1Api().create_namespaced_config_map(namespace, compost)
