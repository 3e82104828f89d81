"""Watches and the informer."""

from threading import Event

from kubernetes import client, watch
from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer

from lab import LabTest, wait_for


class Watching(LabTest):
    def make(self, name, **labels):
        meta = client.V1ObjectMeta(name=name, labels=labels)
        return self.core.create_namespaced_config_map(self.namespace, client.V1ConfigMap(metadata=meta))

    def label(self, name, **labels):
        self.core.patch_namespaced_config_map(name, self.namespace, {"metadata": {"labels": labels}})

    def test_events_come_in_order_from_where_the_list_ended(self):
        self.make("before", w="1")
        begin = self.core.list_namespaced_config_map(self.namespace).metadata.resource_version
        self.make("w", w="1")
        self.label("w", w="2")
        self.label("w", w="1", x="y")
        self.core.delete_namespaced_config_map("w", self.namespace)
        seen, watcher = [], watch.Watch()
        options = {"label_selector": "w=1", "resource_version": begin, "timeout_seconds": 60}
        for event in watcher.stream(self.core.list_namespaced_config_map, self.namespace, **options):
            self.assertEqual(event["object"].metadata.name, "w")
            self.assertEqual(event["raw_object"]["kind"], "ConfigMap")
            seen.append(event["type"])
            if len(seen) == 4:
                watcher.stop()
        self.assertEqual(seen, ["ADDED", "DELETED", "ADDED", "DELETED"])

    def test_a_watch_ends_at_its_time_and_without_a_version_begins_with_what_is(self):
        self.make("there", t="1")
        names = [
            event["object"].metadata.name
            for event in watch.Watch().stream(
                self.core.list_namespaced_config_map, self.namespace, label_selector="t=1", timeout_seconds=1
            )
        ]
        self.assertEqual(names, ["there"])

    def test_too_old_a_version_is_gone(self):
        with self.assertRaises(client.ApiException) as caught:
            for _ in watch.Watch().stream(
                self.core.list_namespaced_config_map, self.namespace, resource_version="9" * 18, timeout_seconds=5
            ):
                pass
        self.assertIn("Too large resource version", str(caught.exception.body or caught.exception.reason))

    def test_an_informer_keeps_a_cache(self):
        self.make("first", i="1")
        seen = {ADDED: set(), MODIFIED: set(), DELETED: set()}
        informer = SharedInformer(self.core.list_namespaced_config_map, namespace=self.namespace, label_selector="i=1")
        for kind, names in seen.items():
            informer.add_event_handler(kind, lambda obj, names=names: names.add(obj.metadata.name))
        failed = Event()
        informer.add_event_handler("ERROR", lambda error: failed.set())
        informer.start()
        wait_for("the first", lambda: "first" in seen[ADDED])
        self.make("second", i="1")
        wait_for("the second", lambda: "second" in seen[ADDED])
        self.label("second", more="y")
        wait_for("the change", lambda: "second" in seen[MODIFIED])
        self.assertEqual(informer.cache.get_by_key(f"{self.namespace}/second").metadata.labels["more"], "y")
        self.core.delete_namespaced_config_map("second", self.namespace)
        wait_for("the end", lambda: "second" in seen[DELETED])
        self.assertEqual(informer.cache.list_keys(), [f"{self.namespace}/first"])
        self.assertFalse(failed.is_set())
        informer.stop()
