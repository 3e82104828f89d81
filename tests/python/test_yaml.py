"""utils.create_from_yaml, as scripts use it to set up what they need."""

from pathlib import Path

from kubernetes import client, utils

from lab import LabTest

EXAMPLES = Path(__file__).parents[2] / "examples"


class FromYaml(LabTest):
    def test_an_application_is_created_from_a_file(self):
        api = client.ApiClient()
        made = utils.create_from_yaml(api, str(EXAMPLES / "webapp.yaml"))
        kinds = [objects[0].kind for objects in made]
        self.assertEqual(kinds[0], "Namespace")
        self.assertLessEqual({"Secret", "StatefulSet", "Deployment", "Service", "Ingress", "CronJob"}, set(kinds))
        with self.assertRaises(utils.FailToCreateError) as caught:
            utils.create_from_yaml(api, str(EXAMPLES / "webapp.yaml"))
        self.assertEqual(len(caught.exception.api_exceptions), len(made))
        self.assertTrue(all(error.status == 409 for error in caught.exception.api_exceptions))
        self.assertIn('namespaces \\"webapp\\" already exists', str(caught.exception))
        self.core.delete_namespace("webapp")

    def test_lists_and_dry_runs(self):
        items = [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": name}} for name in "xy"
        ]
        bundle = {"apiVersion": "v1", "kind": "List", "items": items}
        utils.create_from_dict(client.ApiClient(), bundle, namespace=self.namespace, dry_run="All")
        self.refused(404, "NotFound", self.core.read_namespaced_config_map, "x", self.namespace)
        utils.create_from_dict(client.ApiClient(), bundle, namespace=self.namespace)
        self.assertEqual(self.core.read_namespaced_config_map("y", self.namespace).data, {"n": "y"})
        # Once more, as an apply: nothing is refused.
        items[1]["data"]["m"] = "z"
        utils.create_from_dict(client.ApiClient(), bundle, namespace=self.namespace, apply=True)
        self.assertEqual(self.core.read_namespaced_config_map("y", self.namespace).data, {"n": "y", "m": "z"})

    def test_a_role_and_its_binding(self):
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "reader"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}],
        }
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": self.namespace}],
        }
        utils.create_from_yaml(client.ApiClient(), yaml_objects=[role, binding], namespace=self.namespace)
        attributes = client.V1ResourceAttributes(verb="list", resource="pods", namespace=self.namespace)
        user = f"system:serviceaccount:{self.namespace}:default"
        review = client.V1SubjectAccessReview(
            spec=client.V1SubjectAccessReviewSpec(resource_attributes=attributes, user=user)
        )
        answer = client.AuthorizationV1Api().create_subject_access_review(review).status
        self.assertTrue(answer.allowed, answer.reason)
