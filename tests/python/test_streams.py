"""Logs, and programs that are run in containers over a WebSocket."""

from kubernetes import client, watch
from kubernetes.stream import portforward, stream

from lab import LabTest, wait_for


class Streams(LabTest):
    def test_logs_are_read_and_followed(self):
        self.running_pod("talker", ["sh", "-c", "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done; sleep 3600"])
        lines, watcher = [], watch.Watch()
        for line in watcher.stream(self.core.read_namespaced_pod_log, "talker", self.namespace, follow=True):
            lines.append(line)
            if len(lines) == 5:
                watcher.stop()
        self.assertEqual(lines, [f"line {i}" for i in range(1, 6)])
        self.assertEqual(self.core.read_namespaced_pod_log("talker", self.namespace, tail_lines=2), "line 4\nline 5\n")

    def test_a_program_runs_in_a_container(self):
        self.running_pod("box", ["sleep", "3600"])
        call = (self.core.connect_get_namespaced_pod_exec, "box", self.namespace)
        said = stream(*call, command=["sh", "-c", "echo out; echo err >&2"], stdout=True, stderr=True)
        self.assertEqual(sorted(said.split()), ["err", "out"])

        session = stream(*call, command=["sh"], stdin=True, stdout=True, stderr=True, _preload_content=False)
        session.write_stdin("echo hello\n")
        self.assertEqual(session.readline_stdout(timeout=30), "hello")
        session.write_stdin("exit 3\n")
        session.run_forever(timeout=30)
        self.assertEqual(session.returncode, 3)
        session.close()

    def test_a_port_is_forwarded(self):
        self.running_pod("web", image="nginx")

        def answers():
            forward = portforward(
                self.core.connect_get_namespaced_pod_portforward, "web", self.namespace, ports="80"
            )
            socket = forward.socket(80)
            socket.setblocking(True)
            socket.settimeout(30)
            socket.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            answer = b""
            while chunk := socket.recv(4096):
                answer += chunk
            self.assertIsNone(forward.error(80))
            return answer

        answer = wait_for("an answer", answers)
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK"), answer)
        self.assertIn(b"Server name: web", answer)

    def test_a_pod_is_reached_through_the_api(self):
        self.running_pod("served", image="nginx")
        page = self.core.connect_get_namespaced_pod_proxy("served", self.namespace)
        self.assertIn("Server name: served", page)
        refused = self.refused(
            404, "NotFound", self.core.connect_get_namespaced_pod_proxy, "nobody", self.namespace
        )
        self.assertEqual(refused.message, 'pods "nobody" not found')
        self.assertIsInstance(self.core.read_namespaced_pod("served", self.namespace), client.V1Pod)
