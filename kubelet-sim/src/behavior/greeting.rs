//! What servers say in their logs when they start.

use jiff::Timestamp;

use super::images;

/// What the program of an image says when it starts, in the words of the real one. Little of it, since nobody should
/// take a simulated server for a real one.
pub fn lines(image: &str, now: Timestamp) -> Vec<String> {
    let (name, version) = (images::short_name(image), images::parts(image).1);
    match name {
        "nginx" | "nginx-unprivileged" | "hello" => {
            let time = now.strftime("%Y/%m/%d %H:%M:%S");
            vec![
                "/docker-entrypoint.sh: Configuration complete; ready for start up".to_owned(),
                format!("{time} [notice] 1#1: nginx/{version}"),
                format!("{time} [notice] 1#1: start worker processes"),
            ]
        }
        "redis" | "valkey" => {
            vec![format!("1:M {} * Ready to accept connections tcp", now.strftime("%d %b %Y %H:%M:%S.%3f"))]
        }
        "postgres" | "postgresql" => {
            let time = now.strftime("%Y-%m-%d %H:%M:%S.%3f UTC");
            vec![format!("{time} [1] LOG:  database system is ready to accept connections")]
        }
        "mysql" | "mariadb" => {
            let time = now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
            vec![format!("{time} 0 [System] [MY-010931] [Server] /usr/sbin/mysqld: ready for connections. Port: 3306")]
        }
        "hello-world" => vec![
            String::new(),
            "Hello from Docker!".to_owned(),
            "This message shows that your installation appears to be working correctly.".to_owned(),
        ],
        _ => Vec::new(),
    }
}
