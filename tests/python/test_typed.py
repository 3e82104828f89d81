"""The typed clients: CoreV1Api, AppsV1Api and the others that are made from the OpenAPI document."""

from datetime import datetime, timezone
from ipaddress import ip_address, ip_network

from kubernetes import client, utils

from lab import LabTest, deployment, wait_for


class Typed(LabTest):
    def test_a_config_map_is_made_changed_and_removed(self):
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="a", labels={"v": "1"}), data={"k": "1"})
        made = self.core.create_namespaced_config_map(self.namespace, body)
        self.assertIsInstance(made.metadata.creation_timestamp, datetime)
        self.assertLess(abs((datetime.now(timezone.utc) - made.metadata.creation_timestamp).total_seconds()), 60)
        again = self.refused(409, "AlreadyExists", self.core.create_namespaced_config_map, self.namespace, body)
        self.assertEqual(again.message, 'configmaps "a" already exists')

        read = self.core.read_namespaced_config_map("a", self.namespace)
        read.data["k"] = "2"
        changed = self.core.replace_namespaced_config_map("a", self.namespace, read)
        self.assertEqual(changed.data, {"k": "2"})
        stale = self.refused(409, "Conflict", self.core.replace_namespaced_config_map, "a", self.namespace, read)
        self.assertEqual(
            stale.message,
            'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to'
            " the latest version and try again",
        )

        # A dict is sent as a strategic merge patch, a list as a JSON patch.
        patched = self.core.patch_namespaced_config_map("a", self.namespace, {"data": {"k": None, "n": "3"}})
        self.assertEqual(patched.data, {"n": "3"})
        operations = [{"op": "replace", "path": "/data/n", "value": "4"}]
        self.assertEqual(self.core.patch_namespaced_config_map("a", self.namespace, operations).data, {"n": "4"})
        dry = self.core.patch_namespaced_config_map("a", self.namespace, {"data": {"n": "5"}}, dry_run="All")
        self.assertEqual(dry.data, {"n": "5"})
        self.assertEqual(self.core.read_namespaced_config_map("a", self.namespace).data, {"n": "4"})

        gone = self.core.delete_namespaced_config_map("a", self.namespace)
        self.assertEqual((gone["status"], gone["details"]["name"], gone["details"]["kind"]), ("Success", "a", "configmaps"))
        missing = self.refused(404, "NotFound", self.core.read_namespaced_config_map, "a", self.namespace)
        self.assertEqual(missing.message, 'configmaps "a" not found')

    def test_lists_are_paged_and_selected(self):
        for i in range(10):
            meta = client.V1ObjectMeta(name=f"page-{i}", labels={"half": str(i % 2), "list": "yes"})
            self.core.create_namespaced_config_map(self.namespace, client.V1ConfigMap(metadata=meta))
        names, token = [], None
        while True:
            page = self.core.list_namespaced_config_map(
                self.namespace, label_selector="list=yes", limit=4, _continue=token
            )
            names += [item.metadata.name for item in page.items]
            token = page.metadata._continue
            if not token:
                break
        self.assertEqual(names, [f"page-{i}" for i in range(10)])
        odd = self.core.list_namespaced_config_map(self.namespace, label_selector="list=yes,half in (1)")
        self.assertEqual(len(odd.items), 5)
        one = self.core.list_config_map_for_all_namespaces(field_selector=f"metadata.namespace={self.namespace},metadata.name=page-3")
        self.assertEqual([item.metadata.name for item in one.items], ["page-3"])
        self.core.delete_collection_namespaced_config_map(self.namespace, label_selector="list=yes")
        left = self.core.list_namespaced_config_map(self.namespace, label_selector="list=yes")
        self.assertEqual(left.items, [])

    def test_a_secret_and_a_service_have_their_defaults(self):
        secret = client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"password": "x"})
        made = self.core.create_namespaced_secret(self.namespace, secret)
        self.assertEqual((made.type, made.data, made.string_data), ("Opaque", {"password": "eA=="}, None))
        ports = [client.V1ServicePort(port=80, target_port="http")]
        service = client.V1Service(
            metadata=client.V1ObjectMeta(name="s"), spec=client.V1ServiceSpec(selector={"app": "s"}, ports=ports)
        )
        spec = self.core.create_namespaced_service(self.namespace, service).spec
        self.assertEqual((spec.type, spec.session_affinity, spec.ports[0].protocol), ("ClusterIP", "None", "TCP"))
        self.assertEqual(spec.ports[0].target_port, "http")
        self.assertIn(ip_address(spec.cluster_ip), ip_network("10.96.0.0/12"))
        bad = client.V1Service(
            metadata=client.V1ObjectMeta(name="s_"), spec=client.V1ServiceSpec(ports=[client.V1ServicePort(port=0)])
        )
        refused = self.refused(422, "Invalid", self.core.create_namespaced_service, self.namespace, bad)
        fields = sorted(cause.field for cause in refused.details.causes)
        self.assertEqual(fields, ["metadata.name", "spec.ports[0].port", "spec.ports[0].targetPort"])

    def test_a_deployment_rolls_and_scales(self):
        made = self.apps.create_namespaced_deployment(self.namespace, deployment("web", replicas=2))
        self.assertEqual(made.spec.strategy.rolling_update.max_surge, "25%")

        def ready(count):
            status = self.apps.read_namespaced_deployment_status("web", self.namespace).status
            return status.ready_replicas == count and status.updated_replicas == count

        wait_for("two replicas", lambda: ready(2))
        scale = self.apps.read_namespaced_deployment_scale("web", self.namespace)
        self.assertEqual((scale.spec.replicas, scale.status.selector), (2, "app=web"))
        scale.spec.replicas = 3
        self.apps.replace_namespaced_deployment_scale("web", self.namespace, scale)
        wait_for("three replicas", lambda: ready(3))
        self.apps.patch_namespaced_deployment_scale("web", self.namespace, {"spec": {"replicas": 1}})
        wait_for("one replica", lambda: ready(1))

        image = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]}}}}
        self.apps.patch_namespaced_deployment("web", self.namespace, image)

        def rolled():
            pods = self.core.list_namespaced_pod(self.namespace, label_selector="app=web").items
            return [pod.spec.containers[0].image for pod in pods] == ["nginx:1.27"]

        wait_for("the new image", rolled)
        sets = self.apps.list_namespaced_replica_set(self.namespace, label_selector="app=web").items
        self.assertEqual(len(sets), 2)
        self.assertTrue(all(owner.kind == "Deployment" for rs in sets for owner in rs.metadata.owner_references))

        options = client.V1DeleteOptions(propagation_policy="Foreground")
        self.apps.delete_namespaced_deployment("web", self.namespace, body=options)
        wait_for("the end of the pods", lambda: not self.core.list_namespaced_pod(self.namespace, label_selector="app=web").items)

    def test_all_groups_answer(self):
        """Every list call of the generated clients that needs no namespace, read into its types."""
        seen, missing = 0, set()
        for name in dir(client):
            if not name.endswith("Api") or name == "CustomObjectsApi":
                continue
            api = getattr(client, name)()
            for call in dir(api):
                if not call.startswith("list_") or call.startswith("list_namespaced_") or call.endswith("_with_http_info"):
                    continue
                if (name, call) == ("EventsV1Api", "list_event_for_all_namespaces"):
                    # Its type can't be read where eventTime is null, which it is in a kubelet's events, here as upstream.
                    continue
                with self.subTest(api=name, call=call):
                    try:
                        answer = getattr(api, call)()
                    except client.ApiException as error:
                        self.assertEqual(error.status, 404)
                        # Alpha and beta versions are off, here as upstream.
                        if "alpha" not in name and "beta" not in name:
                            missing.add(f"{name}.{call}")
                    else:
                        self.assertTrue(answer.metadata.resource_version, call)
                        seen += 1
        self.assertGreater(seen, 45)
        self.assertEqual(missing, set())

    def test_the_server_tells_about_itself(self):
        version = client.VersionApi().get_code()
        self.assertEqual((version.major, version.minor), ("1", "37"))
        groups = {group.name for group in client.ApisApi().get_api_versions().groups}
        self.assertLessEqual({"apps", "batch", "rbac.authorization.k8s.io", "apiextensions.k8s.io"}, groups)
        names = {resource.name for resource in self.core.get_api_resources().resources}
        self.assertLessEqual({"pods", "pods/log", "namespaces/finalize", "serviceaccounts/token"}, names)
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(
                resource_attributes=client.V1ResourceAttributes(verb="delete", resource="nodes")
            )
        )
        answer = client.AuthorizationV1Api().create_self_subject_access_review(review)
        self.assertIs(answer.status.allowed, True)

    def test_tokens_are_given_to_service_accounts(self):
        request = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=["lab"], expiration_seconds=600)
        )
        given = self.core.create_namespaced_service_account_token("default", self.namespace, request)
        review = client.V1TokenReview(
            spec=client.V1TokenReviewSpec(token=given.status.token, audiences=["lab"])
        )
        answer = client.AuthenticationV1Api().create_token_review(review).status
        self.assertIs(answer.authenticated, True)
        self.assertEqual(answer.user.username, f"system:serviceaccount:{self.namespace}:default")

    def test_an_eviction_and_a_binding_of_quantities(self):
        self.running_pod("victim", ["sleep", "3600"])
        eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name="victim"))
        self.core.create_namespaced_pod_eviction("victim", self.namespace, eviction)

        def gone():
            pods = self.core.list_namespaced_pod(self.namespace, field_selector="metadata.name=victim")
            return not pods.items

        wait_for("the eviction", gone)
        node = self.core.list_node().items[0]
        self.assertGreater(utils.parse_quantity(node.status.allocatable["cpu"]), 0)
        self.assertGreater(utils.parse_quantity(node.status.capacity["memory"]), 2**20)
