//! `wget`, as busybox has it.

use std::{io::Write, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    header::{HOST, LOCATION, USER_AGENT},
};

use super::{Call, Ran, bad_address, seconds};
use crate::network::{
    Failure,
    http::{Answer, Error, Sender, Trust, Url},
};

/// Redirections that are followed. Source: busybox' `max_redirects`.
const MAX_REDIRECTS: usize = 5;

/// The largest file that is fetched.
const MAX_BODY: usize = 64 << 20;

#[derive(Default)]
struct Options {
    quiet: bool,
    output: Option<String>,
    show_headers: bool,
    spider: bool,
    timeout: Option<Duration>,
    headers: Vec<(String, String)>,
    agent: Option<String>,
    post: Option<String>,
    url: Option<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                options.url = Some(argument.clone());
                continue;
            };
            if let Some(long) = letters.strip_prefix('-') {
                let (name, given) =
                    long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value.to_owned())));
                let mut value = || given.clone().or_else(|| arguments.next().cloned()).unwrap_or_default();
                match name {
                    "spider" => options.spider = true,
                    "quiet" => options.quiet = true,
                    "server-response" => options.show_headers = true,
                    "timeout" => options.timeout = seconds(&value()),
                    "output-document" => options.output = Some(value()),
                    "header" => options.header(&value()),
                    "user-agent" => options.agent = Some(value()),
                    "post-data" => options.post = Some(value()),
                    "tries" | "ca-certificate" | "directory-prefix" => drop(value()),
                    "no-check-certificate" | "no-verbose" | "continue" => {}
                    _ => return Err(format!("unrecognized option '--{name}'")),
                }
                continue;
            }
            let mut letters = letters.chars();
            while let Some(letter) = letters.next() {
                if !"OTUPteoY".contains(letter) {
                    match letter {
                        'q' => options.quiet = true,
                        'S' => options.show_headers = true,
                        'c' | 'n' | 'v' => {}
                        _ => return Err(format!("invalid option -- '{letter}'")),
                    }
                    continue;
                }
                let rest: String = letters.by_ref().collect();
                let value = if rest.is_empty() { arguments.next().cloned().unwrap_or_default() } else { rest };
                match letter {
                    'O' => options.output = Some(value),
                    'T' => options.timeout = seconds(&value),
                    'U' => options.agent = Some(value),
                    _ => {}
                }
            }
        }
        Ok(options)
    }

    fn header(&mut self, text: &str) {
        if let Some((name, value)) = text.split_once(':') {
            self.headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
}

/// Runs it.
pub async fn run(call: &Call<'_>) -> Ran {
    let options = match Options::parse(call.arguments) {
        Ok(options) => options,
        Err(why) => return call.fail(why).await,
    };
    let Some(url) = options.url.as_deref() else {
        call.warn("BusyBox v1.36.1 multi-call binary.\n\nUsage: wget [-cqS] [--spider] [-O FILE] [-T SEC] URL...\n")
            .await?;
        return Ok(1);
    };
    let Some(mut url) = Url::parse(url) else { return call.fail(format!("not an http or ftp url: {url}")).await };
    let resolver = call.resolver();
    let patience = options.timeout;
    let sender = Sender { network: call.network(), resolver: &resolver, trust: Trust::Anybody, patience };
    for _ in 0..=MAX_REDIRECTS {
        let answer = match patience {
            Some(time) => match tokio::time::timeout(time, request(call, &options, &url, &sender)).await {
                Ok(answer) => answer,
                Err(_) => return call.fail("download timed out").await,
            },
            None => request(call, &options, &url, &sender).await,
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return call.fail(words(&url, &error)).await,
        };
        let status = answer.response.status();
        if options.show_headers {
            show(call, &answer).await?;
        }
        let location = answer.response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        if let Some(next) = location.filter(|_| status.is_redirection()).and_then(|location| url.join(location)) {
            url = next;
            continue;
        }
        if status != StatusCode::OK && status != StatusCode::NO_CONTENT {
            let reason = status.canonical_reason().unwrap_or_default();
            return call.fail(format!("server returned error: HTTP/1.1 {} {reason}", status.as_u16())).await;
        }
        return save(call, &options, &url, answer).await;
    }
    call.fail("too many redirections").await
}

async fn request(call: &Call<'_>, options: &Options, url: &Url, sender: &Sender<'_>) -> Result<Answer, Error> {
    let to = sender.resolve(url).await?;
    if !options.quiet {
        let _ = call.warn(format!("Connecting to {} ({to})\n", url.authority())).await;
    }
    if url.secure {
        let _ = call.warn("wget: note: TLS certificate validation not implemented\n").await;
    }
    let method = if options.post.is_some() { "POST" } else { "GET" };
    let mut request = Request::builder().method(method).uri(&url.path).header(HOST, url.authority());
    request = request.header(USER_AGENT, options.agent.as_deref().unwrap_or("Wget"));
    for (name, value) in &options.headers {
        request = request.header(name, value);
    }
    let body = Full::from(Bytes::from(options.post.clone().unwrap_or_default()));
    sender.send(url, to, request.body(body).map_err(|_| Error::Broken)?).await
}

fn words(url: &Url, error: &Error) -> String {
    match error {
        Error::Name(why) => bad_address(&url.host, *why),
        Error::Connect(address, Failure::Dropped) => {
            format!("can't connect to remote host ({address}): Connection timed out")
        }
        Error::Connect(address, failure) => format!("can't connect to remote host ({address}): {failure}"),
        Error::Tls(why) => format!("TLS error from peer: {why}"),
        Error::Broken => "error getting response".to_owned(),
    }
}

async fn show(call: &Call<'_>, answer: &Answer) -> Result<(), super::super::super::streams::Broken> {
    let status = answer.response.status();
    let mut text = format!("  HTTP/1.1 {} {}\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    for (name, value) in answer.response.headers() {
        text.push_str(&format!("  {name}: {}\n", value.to_str().unwrap_or_default()));
    }
    call.warn(text).await
}

async fn save(call: &Call<'_>, options: &Options, url: &Url, answer: Answer) -> Ran {
    if options.spider {
        if !options.quiet {
            call.warn("remote file exists\n").await?;
        }
        return Ok(0);
    }
    let named = url.path.split('?').next().and_then(|path| path.rsplit('/').next()).filter(|name| !name.is_empty());
    let file = options.output.clone().unwrap_or_else(|| named.unwrap_or("index.html").to_owned());
    let to_stdout = file == "-";
    let to_nobody = file == "/dev/null";
    let mut target = None;
    if !to_stdout && !to_nobody {
        match call.shell.world.files.write(&call.path(&file), false) {
            Ok(opened) => target = Some(opened),
            Err(error) => {
                let why = crate::shell::files::describe(&error);
                return call.fail(format!("can't open '{file}': {why}")).await;
            }
        }
    }
    if !options.quiet {
        let place = if to_stdout { "writing to stdout".to_owned() } else { format!("saving to '{file}'") };
        call.warn(format!("{place}\n")).await?;
    }
    let mut body = answer.response.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return call.fail("short read: connection closed prematurely").await };
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        let written = match &mut target {
            Some(_) if length > MAX_BODY => Err(std::io::ErrorKind::StorageFull.into()),
            Some(file) => file.write_all(&data),
            None if to_nobody => Ok(()),
            None => {
                call.streams.stdout.write(&data).await?;
                Ok(())
            }
        };
        if let Err(error) = written {
            return call.fail(format!("write error: {}", crate::shell::files::describe(&error))).await;
        }
    }
    if !options.quiet {
        let end = if to_stdout { "written to stdout".to_owned() } else { format!("'{file}' saved") };
        let bar = "*".repeat(32);
        call.warn(format!("{file:<20} 100% |{bar}| {length:>5}  0:00:00 ETA\n{end}\n")).await?;
    }
    Ok(0)
}
