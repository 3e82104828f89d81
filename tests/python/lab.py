"""What the tests of this folder have in common: a configured client, a namespace for each class, patience."""

import time
import unittest

from kubernetes import client, config

PATIENCE = 120


def wait_for(what, ask):
    """Asks until the answer is true, and gives it back."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited too long for {what}; last seen: {answer!r}")
        time.sleep(0.1)


def deployment(name, replicas=1, image="nginx:1.25"):
    labels = {"app": name}
    container = client.V1Container(name="web", image=image, ports=[client.V1ContainerPort(container_port=80)])
    return client.V1Deployment(
        metadata=client.V1ObjectMeta(name=name, labels=labels),
        spec=client.V1DeploymentSpec(
            replicas=replicas,
            selector=client.V1LabelSelector(match_labels=labels),
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
            ),
        ),
    )


class LabTest(unittest.TestCase):
    """A test on the lab that KUBECONFIG names, in a namespace that is called as its class."""

    @classmethod
    def setUpClass(cls):
        config.load_kube_config()
        cls.core = client.CoreV1Api()
        cls.apps = client.AppsV1Api()
        cls.namespace = cls.__name__.lower()
        cls.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=cls.namespace)))
        # Pods are refused until the namespace has its service account.
        wait_for("the service account", cls._has_service_account)

    @classmethod
    def _has_service_account(cls):
        accounts = cls.core.list_namespaced_service_account(cls.namespace)
        return any(account.metadata.name == "default" for account in accounts.items)

    @classmethod
    def tearDownClass(cls):
        cls.core.delete_namespace(cls.namespace)

    def refused(self, status, reason, call, *arguments, **options):
        """The call must be refused with this status and reason; gives the Status."""
        with self.assertRaises(client.ApiException) as caught:
            call(*arguments, **options)
        self.assertEqual(caught.exception.status, status, caught.exception.body)
        body = client.ApiClient().deserialize(caught.exception.body, "V1Status", "application/json")
        self.assertEqual(body.reason, reason)
        return body

    def running_pod(self, name, command=None, image="busybox"):
        """A pod that runs."""
        container = client.V1Container(name=name, image=image, command=command)
        body = client.V1Pod(
            metadata=client.V1ObjectMeta(name=name, labels={"app": name}),
            spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=0),
        )
        self.core.create_namespaced_pod(self.namespace, body)

        def runs():
            return self.core.read_namespaced_pod(name, self.namespace).status.phase == "Running"

        wait_for(f"pod {name} to run", runs)
