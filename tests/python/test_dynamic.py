"""The dynamic client, which finds out by discovery what there is; and CustomObjectsApi, which knows paths only."""

from kubernetes import client
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, ResourceNotFoundError, UnprocessibleEntityError

from lab import LabTest, wait_for

GROUP = "python.example.com"


def definition():
    spec = {
        "type": "object",
        "required": ["size"],
        "properties": {"size": {"type": "integer", "minimum": 1}, "color": {"type": "string", "default": "red"}},
    }
    schema = {
        "type": "object",
        "properties": {
            "spec": spec,
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"hats.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "hats", "singular": "hat", "kind": "Hat", "shortNames": ["ht"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
                    },
                }
            ],
        },
    }


class Dynamic(LabTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dynamic = DynamicClient(client.ApiClient())
        definitions = cls.dynamic.resources.get(
            api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition"
        )
        definitions.create(body=definition())

        def established():
            conditions = definitions.get(name=f"hats.{GROUP}").to_dict().get("status", {}).get("conditions", [])
            return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

        wait_for("the definition", established)

    def hat(self, name, **spec):
        return {"apiVersion": f"{GROUP}/v1", "kind": "Hat", "metadata": {"name": name}, "spec": spec}

    def hats(self):
        # What discovery said before the definition is forgotten when a kind is not found.
        return self.dynamic.resources.get(api_version=f"{GROUP}/v1", kind="Hat")

    def test_built_in_kinds_are_found(self):
        maps = self.dynamic.resources.get(api_version="v1", kind="ConfigMap")
        self.assertTrue(maps.namespaced)
        self.assertEqual(self.dynamic.resources.get(short_names=["cm"], api_version="v1").kind, "ConfigMap")
        self.assertEqual(self.dynamic.resources.get(api_version="apps/v1", kind="Deployment").name, "deployments")
        with self.assertRaises(ResourceNotFoundError):
            self.dynamic.resources.get(api_version="v1", kind="Nothing")
        body = {"metadata": {"name": "d", "labels": {"d": "y"}}, "data": {"a": "1"}}
        made = maps.create(body=body, namespace=self.namespace)
        self.assertEqual((made.kind, made.data.a), ("ConfigMap", "1"))
        with self.assertRaises(ConflictError):
            maps.create(body=body, namespace=self.namespace)
        merge = {"metadata": {"name": "d"}, "data": {"a": None, "b": "2"}}
        patched = maps.patch(body=merge, namespace=self.namespace, content_type="application/merge-patch+json")
        self.assertEqual(patched.data.to_dict(), {"b": "2"})
        listed = maps.get(namespace=self.namespace, label_selector="d=y")
        self.assertEqual((listed.kind, [item.metadata.name for item in listed.items]), ("ConfigMapList", ["d"]))
        maps.delete(name="d", namespace=self.namespace)
        with self.assertRaises(NotFoundError):
            maps.get(name="d", namespace=self.namespace)

    def test_it_applies(self):
        maps = self.dynamic.resources.get(api_version="v1", kind="ConfigMap")

        def apply(data, manager, **options):
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": data}
            return maps.server_side_apply(body=body, namespace=self.namespace, field_manager=manager, **options)

        apply({"a": "1"}, "one")
        with self.assertRaises(ConflictError) as caught:
            apply({"a": "2"}, "two")
        self.assertIn('Apply failed with 1 conflict: conflict with \\"one\\": .data.a', str(caught.exception.body))
        self.assertEqual(apply({"a": "2", "b": "3"}, "two", force_conflicts=True).data.to_dict(), {"a": "2", "b": "3"})
        managers = {entry.manager for entry in maps.get(name="applied", namespace=self.namespace).metadata.managedFields}
        # The first has lost its only field.
        self.assertIn("two", managers)
        self.assertEqual(apply({"b": "3"}, "two").data.to_dict(), {"b": "3"})

    def test_custom_resources(self):
        hats = self.hats()
        made = hats.create(body=self.hat("one", size=1), namespace=self.namespace)
        self.assertEqual(made.spec.color, "red")
        with self.assertRaises(UnprocessibleEntityError) as caught:
            hats.create(body=self.hat("none", size=0), namespace=self.namespace)
        self.assertIn("spec.size in body should be greater than or equal to 1", str(caught.exception.body))
        status = {"metadata": {"name": "one"}, "status": {"size": 5}}
        hats.status.patch(body=status, namespace=self.namespace, content_type="application/merge-patch+json")
        self.assertEqual(hats.get(name="one", namespace=self.namespace).status.size, 5)
        self.assertEqual(hats.scale.get(name="one", namespace=self.namespace).spec.replicas, 1)
        changed = hats.get(name="one", namespace=self.namespace)
        changed.spec.size = 7
        hats.replace(body=changed.to_dict(), namespace=self.namespace)
        events = hats.watch(namespace=self.namespace, timeout=20)
        first = next(iter(events))
        self.assertEqual((first["type"], first["object"].spec.size), ("ADDED", 7))
        hats.delete(name="one", namespace=self.namespace)

    def test_custom_objects_api(self):
        objects = client.CustomObjectsApi()
        place = (GROUP, "v1", self.namespace, "hats")
        objects.create_namespaced_custom_object(*place, self.hat("two", size=2))
        patched = objects.patch_namespaced_custom_object(*place, "two", {"spec": {"color": "blue"}})
        self.assertEqual(patched["spec"], {"size": 2, "color": "blue"})
        patched = objects.patch_namespaced_custom_object_status(*place, "two", {"status": {"size": 2}})
        self.assertEqual(patched["status"], {"size": 2})
        listed = objects.list_namespaced_custom_object(*place, field_selector="metadata.name=two")
        self.assertEqual([item["metadata"]["name"] for item in listed["items"]], ["two"])
        everywhere = objects.list_cluster_custom_object(GROUP, "v1", "hats")
        self.assertEqual(everywhere["kind"], "HatList")
        objects.delete_namespaced_custom_object(*place, "two")
        self.refused(404, "NotFound", objects.get_namespaced_custom_object, *place, "two")
