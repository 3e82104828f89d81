"""An operator that is written with kopf, from its first object to the last."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from kubernetes import client

from lab import LabTest, wait_for

GROUP = "example.com"
OPERATOR = Path(__file__).with_name("pot_operator.py")


def definition():
    keep = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    spec = {"type": "object", "required": ["plant"], "properties": {"plant": {"type": "string"}}}
    schema = {"type": "object", "properties": {"spec": spec, "status": keep}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [{"name": "Phase", "type": "string", "jsonPath": ".status.phase"}],
    }
    return {
        "metadata": {"name": f"pots.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "pots", "singular": "pot", "kind": "Pot"},
            "versions": [version],
        },
    }


class Operator(LabTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.objects = client.CustomObjectsApi()
        cls.place = (GROUP, "v1", cls.namespace, "pots")
        definitions = client.ApiextensionsV1Api()
        definitions.create_custom_resource_definition(definition())

        def established():
            conditions = definitions.read_custom_resource_definition(f"pots.{GROUP}").status.conditions or []
            return any(c.type == "Established" and c.status == "True" for c in conditions)

        wait_for("the definition", established)

    @contextmanager
    def operator(self):
        """The operator, running; its log is shown when the test fails."""
        command = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", self.namespace, str(OPERATOR)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            yield
        except BaseException:
            process.terminate()
            print(process.communicate()[0])
            raise
        process.terminate()
        log = process.communicate(timeout=60)[0]
        self.assertEqual(process.returncode, 0, log)
        self.assertNotIn("Traceback", log)

    def pot(self):
        return self.objects.get_namespaced_custom_object(*self.place, "balcony")

    def status(self, key):
        return self.pot().get("status", {}).get(key)

    def plant(self):
        return self.core.read_namespaced_config_map("balcony", self.namespace).data["plant"]

    def test_a_pot_lives(self):
        body = {"apiVersion": f"{GROUP}/v1", "kind": "Pot", "metadata": {"name": "balcony"}, "spec": {"plant": "basil"}}
        self.objects.create_namespaced_custom_object(*self.place, body)
        with self.operator():
            wait_for("the planting", lambda: self.status("phase") == "Planted")
            made = self.pot()
            self.assertEqual(made["status"]["create"], {"attempts": 2})
            self.assertEqual(made["metadata"]["finalizers"], ["pots.example.com/operator"])
            owners = self.core.read_namespaced_config_map("balcony", self.namespace).metadata.owner_references
            self.assertEqual([(o.kind, o.name, o.uid) for o in owners], [("Pot", "balcony", made["metadata"]["uid"])])
            wait_for("two waterings", lambda: (self.status("watered") or 0) >= 2)
            wait_for("the event", self.has_event)

            self.objects.patch_namespaced_custom_object(*self.place, "balcony", {"spec": {"plant": "mint"}})
            wait_for("the replanting", lambda: self.status("phase") == "Replanted from basil to mint")
            self.assertEqual(self.plant(), "mint")

        # What changes while it is away, it sees when it is back.
        self.assertIsNone(self.status("resumed"))
        self.objects.patch_namespaced_custom_object(*self.place, "balcony", {"spec": {"plant": "thyme"}})
        with self.operator():
            wait_for("the change to be seen", lambda: self.status("phase") == "Replanted from mint to thyme")
            wait_for("the handler of the return", lambda: self.status("resumed") == 1)

        # Nobody answers for the finalizer: the object waits.
        gone = self.objects.delete_namespaced_custom_object(*self.place, "balcony")
        self.assertIn("deletionTimestamp", gone["metadata"])
        self.assertIn("deletionTimestamp", self.pot()["metadata"])
        with self.operator():
            wait_for("the end of the pot", self.is_gone)
        compost = self.core.read_namespaced_config_map("balcony-compost", self.namespace)
        self.assertEqual(compost.data, {"plant": "thyme"})
        wait_for("the end of what it owned", lambda: "balcony" not in self.maps())

    def has_event(self):
        events = self.core.list_namespaced_event(
            self.namespace, field_selector="involvedObject.name=balcony,reason=Planted"
        )
        return any(event.message == "planted a basil" for event in events.items)

    def is_gone(self):
        return not self.objects.list_namespaced_custom_object(*self.place)["items"]

    def maps(self):
        return [item.metadata.name for item in self.core.list_namespaced_config_map(self.namespace).items]
