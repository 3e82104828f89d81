//! What the examples of Kubernetes' documentation run in their containers, on tokio's paused clock. Source:
//! <https://kubernetes.io/docs/tasks/> and <https://kubernetes.io/docs/concepts/>.

use super::tests::Rig;

#[tokio::test(start_paused = true)]
async fn scripts_of_the_documentation_run() {
    let rig = Rig::new();
    for (script, expected, status) in [
        // Probes: the file is there, then it is not.
        (
            "touch /tmp/healthy; sleep 30; rm -f /tmp/healthy; cat /tmp/healthy",
            "cat: can't open '/tmp/healthy': No such file or directory\n",
            1,
        ),
        // Logs of a counter, and of one that writes to files which sidecars stream.
        ("i=0; while [ $i -lt 2 ]; do echo \"$i: $(date +%Y | wc -c)\"; i=$((i+1)); sleep 1; done", "0: 5\n1: 5\n", 0),
        (
            "mkdir -p /var/log; touch /var/log/1.log; i=0; while [ $i -lt 3 ]; do echo \"$i: x\" >> /var/log/1.log; i=$((i+1)); sleep 1; done & timeout 5 tail -n+1 -F /var/log/1.log",
            "0: x\n1: x\n2: x\n",
            124,
        ),
        // Sidecars.
        (
            "while true; do echo \"logging\" >> /tmp/logs.txt; sleep 1; done & sleep 2.5; wc -l < /tmp/logs.txt; kill $!",
            "3\n",
            0,
        ),
        // Termination messages, jobs, expansions.
        ("sleep 10 && echo Sleep expired > /tmp/termination-log; cat /tmp/termination-log", "Sleep expired\n", 0),
        ("date > /dev/null; echo Hello from the Kubernetes cluster", "Hello from the Kubernetes cluster\n", 0),
        ("echo Processing item apple && sleep 5", "Processing item apple\n", 0),
        ("echo foo > /tmp/data.txt; rev /tmp/data.txt", "oof\n", 0),
        // The downward API's files.
        (
            "echo zone=us > /tmp/labels; if [[ -e /tmp/labels ]]; then echo -en '\\n\\n'; cat /tmp/labels; fi; if [[ -e /tmp/none ]]; then echo no; fi",
            "\n\nzone=us\n",
            0,
        ),
        ("echo -en '\\n'; printenv COLOR NONE; env | grep COLOR", "\nblue\nCOLOR=blue\n", 0),
        (
            "for f in a b; do echo $f > /tmp/$f.conf; done; ls /tmp/*.conf; cat /tmp/a.conf /tmp/b.conf",
            "/tmp/a.conf\n/tmp/b.conf\na\nb\n",
            0,
        ),
        // Users.
        ("id; whoami", "uid=0(root) gid=0(root) groups=0(root)\nroot\n", 0),
        // Hooks.
        (
            "mkdir -p /usr/share; echo Hello from the postStart handler > /usr/share/message; cat /usr/share/message",
            "Hello from the postStart handler\n",
            0,
        ),
        ("while killall -0 nginx; do sleep 1; done; echo gone", "sh: killall: not found\ngone\n", 0),
        // Debugging.
        ("printf 'web 1\\ndb 2\\n' | grep -E '^(db|cache)' | cut -d' ' -f2", "2\n", 0),
        ("printf 'nameserver 10.96.0.10\\n' | sed 's/nameserver/dns/'", "dns 10.96.0.10\n", 0),
    ] {
        assert_eq!(rig.sh(script).await, (expected.to_owned(), status), "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn scripts_for_bash_run() {
    let rig = Rig::gnu();
    for (script, expected, status) in [
        // Static work of an indexed Job.
        (
            "items=(foo bar baz qux xyz); JOB_COMPLETION_INDEX=3; echo ${items[$JOB_COMPLETION_INDEX]} > /tmp/data.txt; cat /tmp/data.txt",
            "qux\n",
            0,
        ),
        (
            "a=(1 '2 3'); a+=(4); a[4]=x; for i in \"${a[@]}\"; do echo \"<$i>\"; done; echo ${#a[@]} ${a[1]} ${a[*]}",
            "<1>\n<2 3>\n<4>\n<>\n<x>\n5 2 3 1 2 3 4 x\n",
            0,
        ),
        ("a=(x y); i=1; echo ${a[i]} ${a[i-1]} ${#a[0]} $a", "y x 1 x\n", 0),
        // A replicated database.
        (
            "HOSTNAME=mysql-2; [[ $HOSTNAME =~ -([0-9]+)$ ]] || exit 1; ordinal=${BASH_REMATCH[1]}; echo [mysqld] > /tmp/server-id.cnf; echo server-id=$((100 + $ordinal)) >> /tmp/server-id.cnf; cat /tmp/server-id.cnf; if [[ $ordinal -eq 0 ]]; then echo primary; else echo replica; fi",
            "[mysqld]\nserver-id=102\nreplica\n",
            0,
        ),
        ("[[ web =~ ^[0-9]+$ ]] || exit 1", "", 1),
        // A pod failure policy.
        (
            "echo \"Hello world! I'm going to exit with 42 to simulate a software bug.\" && sleep 30 && exit 42",
            "Hello world! I'm going to exit with 42 to simulate a software bug.\n",
            42,
        ),
    ] {
        assert_eq!(rig.bash(script).await, (expected.to_owned(), status), "{script}");
    }
}
