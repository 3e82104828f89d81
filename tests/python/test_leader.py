"""Leader election by a Lease: of two candidates one leads, and the other when the first is gone."""

from threading import Event, Thread

from kubernetes import client
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from lab import LabTest, wait_for


class Leading(LabTest):
    def candidate(self, name):
        leads = Event()
        lock = LeaseLock("lock", self.namespace, name)
        settings = electionconfig.Config(
            lock, lease_duration=4, renew_deadline=3, retry_period=1, onstarted_leading=leads.set, onstopped_leading=None
        )
        Thread(target=leaderelection.LeaderElection(settings).run, daemon=True).start()
        return leads, lock

    def test_one_leads_at_a_time(self):
        first, lock = self.candidate("first")
        wait_for("the first leader", first.is_set)
        second, _ = self.candidate("second")
        leases = client.CoordinationV1Api()
        begun = leases.read_namespaced_lease("lock", self.namespace)
        self.assertEqual(begun.spec.holder_identity, "first")

        def renewed():
            now = leases.read_namespaced_lease("lock", self.namespace).spec
            return now.renew_time > begun.spec.renew_time

        wait_for("a renewal", renewed)
        self.assertFalse(second.is_set())
        # The first can renew no more: whatever it writes is refused.
        lock.update = lambda *_: False
        wait_for("the second leader", second.is_set)
        self.assertEqual(leases.read_namespaced_lease("lock", self.namespace).spec.holder_identity, "second")
