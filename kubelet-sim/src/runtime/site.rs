//! The files that a web server in a container serves: those of its document root, if there are any. Without them it says
//! who it is.

use hyper::StatusCode;

use crate::shell::files::{Files, normalize};

/// Web servers by the last part of their images' names, and where they look for files.
const ROOTS: [(&str, &str); 4] = [
    ("nginx", "/usr/share/nginx/html"),
    ("nginx-unprivileged", "/usr/share/nginx/html"),
    ("httpd", "/usr/local/apache2/htdocs"),
    ("caddy", "/usr/share/caddy"),
];

/// The largest file that is served, in bytes.
const LARGEST: u64 = 16 << 20;

/// A web server's files.
pub struct Site {
    files: Files,
    root: &'static str,
}

/// What is answered: a status, a content type and a body.
pub type Answer = (StatusCode, &'static str, Vec<u8>);

impl Site {
    /// The document root of an image, if it is a web server's.
    pub fn root(image: &str) -> Option<&'static str> {
        let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let name = name.split(':').next().unwrap_or_default();
        ROOTS.iter().find(|(known, _)| *known == name).map(|(_, root)| *root)
    }

    /// The files below this folder of a container.
    pub fn new(files: Files, root: &'static str) -> Self {
        Self { files, root }
    }

    /// The file for a path; nothing if this server has no files of its own.
    pub async fn answer(&self, path: &str) -> Option<Answer> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let mut place = format!("{}{}", self.root, normalize("/", path)).trim_end_matches('/').to_owned();
        self.files.look(&place).await;
        let is_folder = self.files.is_folder(&place);
        if is_folder || place == self.root {
            place += "/index.html";
        }
        let about = self.files.about_target(&place);
        if about.is_ok_and(|about| about.is_file() && about.len() <= LARGEST) {
            let bytes = self.files.read(&place).ok()?;
            return Some((StatusCode::OK, content_type(&place), bytes));
        }
        let is_mounted = |root: &str| root == self.root || self.root.starts_with(&format!("{root}/"));
        if !self.files.mounts().iter().any(|mount| is_mounted(&mount.path)) {
            return None;
        }
        let status = if is_folder || path == "/" { StatusCode::FORBIDDEN } else { StatusCode::NOT_FOUND };
        let text = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
        let page = format!("<html>\n<head><title>{text}</title></head>\n<body>\n<h1>{text}</h1>\n</body>\n</html>\n");
        Some((status, "text/html", page.into_bytes()))
    }
}

/// Source: the `mime.types` that comes with nginx.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "js" => "application/javascript",
        "json" => "application/json",
        "txt" => "text/plain",
        "xml" => "text/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_server_serves_the_files_that_it_has() {
        assert_eq!(Site::root("docker.io/library/nginx:1.21"), Some("/usr/share/nginx/html"));
        assert_eq!(Site::root("nginxdemos/hello"), None);
        let folder = tempfile::tempdir().unwrap();
        let root = Site::root("nginx").unwrap();
        let volume = folder.path().join("volume");
        let mounted = || Files::new(folder.path().join("root"), [(root.to_owned(), volume.clone())]);
        let bare = Site::new(Files::new(folder.path().join("root"), []), root);
        assert!(bare.answer("/").await.is_none(), "it says who it is");
        let site = Site::new(mounted(), root);
        assert_eq!(site.answer("/").await.unwrap().0, StatusCode::FORBIDDEN);
        assert_eq!(site.answer("/none").await.unwrap().0, StatusCode::NOT_FOUND);
        fs::create_dir_all(volume.join("a")).unwrap();
        fs::write(volume.join("index.html"), "hello").unwrap();
        fs::write(volume.join("a/x.json"), "{}").unwrap();
        fs::write(folder.path().join("secret"), "").unwrap();
        for (path, status, kind, body) in [
            ("/", 200, "text/html", Some("hello")),
            ("/index.html?x=1", 200, "text/html", Some("hello")),
            ("/a/x.json", 200, "application/json", Some("{}")),
            ("/a/", 403, "text/html", None),
            ("/../../secret", 404, "text/html", None),
        ] {
            let (found, found_kind, bytes) = site.answer(path).await.unwrap();
            assert_eq!((found.as_u16(), found_kind), (status, kind), "{path}");
            if let Some(body) = body {
                assert_eq!(String::from_utf8(bytes).unwrap(), body, "{path}");
            }
        }
    }
}
