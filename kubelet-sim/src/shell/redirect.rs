//! `>`, `<`, `2>&1`, `<<END`

use brush_parser::ast::{self, IoFileRedirectKind as Kind};

use super::{
    evaluate::Shell,
    files::{describe, normalize},
    streams::{Input, Output, Streams},
};

impl Shell {
    /// The streams of a command with these redirects; or the status that it fails with.
    pub async fn redirect<'a>(
        &mut self,
        redirects: impl Iterator<Item = &'a ast::IoRedirect>,
        streams: &Streams,
    ) -> Result<Streams, i32> {
        let mut own = streams.clone();
        for redirect in redirects {
            match redirect {
                ast::IoRedirect::File(fd, kind, target) => {
                    let target = match target {
                        ast::IoFileRedirectTarget::Filename(word) | ast::IoFileRedirectTarget::Duplicate(word) => {
                            self.text(word, streams).await
                        }
                        ast::IoFileRedirectTarget::Fd(fd) => fd.to_string(),
                        ast::IoFileRedirectTarget::ProcessSubstitution(..) => "/dev/null".to_owned(),
                    };
                    self.redirect_file(&mut own, *fd, kind, &target).await?;
                }
                ast::IoRedirect::HereDocument(_, document) => {
                    let text = if document.requires_expansion {
                        self.expand_document(&document.doc.value, streams).await
                    } else {
                        document.doc.value.clone()
                    };
                    own.stdin = Input::from(text.into_bytes());
                }
                ast::IoRedirect::HereString(_, word) => {
                    let text = self.text(word, streams).await + "\n";
                    own.stdin = Input::from(text.into_bytes());
                }
                ast::IoRedirect::OutputAndError(word, append) => {
                    let target = self.text(word, streams).await;
                    let kind = if *append { Kind::Append } else { Kind::Write };
                    self.redirect_file(&mut own, Some(1), &kind, &target).await?;
                    own.stderr = own.stdout.clone();
                }
            }
        }
        Ok(own)
    }

    async fn redirect_file(
        &mut self,
        own: &mut Streams,
        fd: Option<i32>,
        kind: &Kind,
        target: &str,
    ) -> Result<(), i32> {
        let path = normalize(&self.folder, target);
        self.world.files.look(&path).await;
        let input = matches!(kind, Kind::Read | Kind::ReadAndWrite);
        let opened = match kind {
            Kind::DuplicateInput => return Ok(()),
            Kind::DuplicateOutput => match target {
                "1" => Ok(own.stdout.clone()),
                "2" => Ok(own.stderr.clone()),
                "-" => Ok(Output::Null),
                _ => Err(std::io::ErrorKind::InvalidInput.into()),
            },
            _ if path == "/dev/null" && input => {
                own.stdin = Input::empty();
                return Ok(());
            }
            _ if input => match self.world.files.read(&path) {
                Ok(bytes) => {
                    own.stdin = Input::from(bytes);
                    return Ok(());
                }
                Err(error) => Err(error),
            },
            _ if path == "/dev/null" => Ok(Output::Null),
            _ if path == "/dev/stdout" || path == "/proc/1/fd/1" => Ok(own.stdout.clone()),
            _ if path == "/dev/stderr" || path == "/proc/1/fd/2" => Ok(own.stderr.clone()),
            // It was written before.
            _ if self.world.past.is_present() => Ok(Output::Null),
            kind => self.world.files.write(&path, matches!(kind, Kind::Append)).map(Output::file),
        };
        match opened {
            Ok(output) if fd == Some(2) => own.stderr = output,
            Ok(output) => own.stdout = output,
            Err(error) => {
                let why = describe(&error);
                let message = if input || why != "No such file or directory" {
                    format!("{}: can't open {target}: {why}\n", self.name)
                } else {
                    format!("{}: can't create {target}: nonexistent directory\n", self.name)
                };
                let _ = own.stderr.print(message).await;
                return Err(1);
            }
        }
        Ok(())
    }
}
