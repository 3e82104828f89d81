//! `curl`.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`options`] | what its arguments ask for (pure) |

mod options;

use std::{io::Write, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Version,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION, USER_AGENT},
};
use kubelab_client::clock;

use self::options::{Options, Parsed};
use super::{Call, Ran};
use crate::network::{
    Failure,
    http::{Answer, Error, Sender, Trust, Url},
};

/// Redirections that `-L` follows. Source: curl's `--max-redirs`.
const MAX_REDIRECTS: usize = 50;

/// The largest file that is fetched.
const MAX_BODY: usize = 64 << 20;

/// How a transfer fails. Source: curl's `CURLcode`.
struct Failed {
    code: i32,
    why: String,
}

fn failed(code: i32, why: impl Into<String>) -> Failed {
    Failed { code, why: why.into() }
}

/// What is known of a transfer, for `--write-out`.
#[derive(Default)]
struct Report {
    status: u16,
    size: usize,
    redirects: usize,
    content_type: String,
    from: Option<SocketAddr>,
    url: String,
}

/// Runs it.
pub async fn run(call: &Call<'_>) -> Ran {
    let options = match options::parse(call.arguments) {
        Parsed::Options(options) => options,
        Parsed::Version => {
            call.print("curl 8.11.1 (kubelab) OpenSSL/3.3\nProtocols: http https\n").await?;
            return Ok(0);
        }
        Parsed::Wrong(why) => {
            call.warn(format!("curl: {why}\ncurl: try 'curl --help' or 'curl --manual' for more information\n"))
                .await?;
            return Ok(2);
        }
    };
    if options.urls.is_empty() {
        call.warn("curl: (2) no URL specified\n").await?;
        return Ok(2);
    }
    let mut status = 0;
    for url in &options.urls {
        let began = clock::instant();
        let mut report = Report::default();
        let work = transfer(call, &options, url, &mut report);
        let done = match options.max_time {
            Some(time) => tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
                let time = time.as_millis();
                Err(failed(28, format!("Operation timed out after {time} milliseconds with 0 bytes received")))
            }),
            None => work.await,
        };
        status = 0;
        if let Err(Failed { code, why }) = done {
            if !options.silent || options.show_error {
                call.warn(format!("curl: ({code}) {why}\n")).await?;
            }
            status = code;
        }
        if let Some(format) = &options.write_out {
            call.print(written_out(format, &report, began.elapsed())).await?;
        }
    }
    Ok(status)
}

async fn transfer(call: &Call<'_>, options: &Options, url: &str, report: &mut Report) -> Result<(), Failed> {
    let mut url = Url::parse(url).ok_or_else(|| failed(3, "URL rejected: Malformed input to a URL function"))?;
    let trust = match &options.ca_file {
        _ if options.insecure => Trust::Anybody,
        None => Trust::Authorities(Vec::new()),
        Some(file) => Trust::Authorities(call.shell.world.files.read(&call.path(file)).map_err(|_| {
            failed(77, format!("error setting certificate verify locations:  CAfile: {file} CApath: none"))
        })?),
    };
    let resolver = call.resolver();
    let patience = options.connect_timeout.or(options.max_time);
    let sender = Sender { network: call.network(), resolver: &resolver, trust, patience };
    loop {
        report.url = url.to_string();
        let answer = exchange(call, options, &url, &sender).await?;
        let head = &answer.response;
        report.status = head.status().as_u16();
        report.from = Some(answer.from);
        let content_type = head.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        report.content_type = content_type.unwrap_or_default().to_owned();
        let location = head.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let next = location.filter(|_| options.follow && head.status().is_redirection()).and_then(|to| url.join(to));
        if let Some(next) = next {
            report.redirects += 1;
            if report.redirects > MAX_REDIRECTS {
                return Err(failed(47, format!("Maximum ({MAX_REDIRECTS}) redirects followed")));
            }
            show_head(call, options, &answer).await?;
            url = next;
            continue;
        }
        if options.fail && report.status >= 400 {
            return Err(failed(22, format!("The requested URL returned error: {}", report.status)));
        }
        show_head(call, options, &answer).await?;
        return save(call, options, &url, answer, report).await;
    }
}

async fn exchange(call: &Call<'_>, options: &Options, url: &Url, sender: &Sender<'_>) -> Result<Answer, Failed> {
    let began = clock::instant();
    let pinned = options.resolve.iter().find(|(host, port, _)| *host == url.host && *port == url.port);
    let to = match pinned {
        Some((_, _, address)) => SocketAddr::new(*address, url.port),
        None => sender.resolve(url).await.map_err(|error| explain(url, &error, began.elapsed()))?,
    };
    let request = build(call, options, url)?;
    if options.verbose {
        let mut text = format!("*   Trying {to}...\n> {} {} HTTP/1.1\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            text.push_str(&format!("> {name}: {}\n", value.to_str().unwrap_or_default()));
        }
        let _ = call.warn(text + "> \n").await;
    }
    sender.send(url, to, request).await.map_err(|error| explain(url, &error, began.elapsed()))
}

fn build(call: &Call<'_>, options: &Options, url: &Url) -> Result<Request<Full<Bytes>>, Failed> {
    let body = options.body(|file| call.shell.world.files.read(&call.path(file)).ok());
    let default = if options.head {
        "HEAD"
    } else if body.is_some() {
        "POST"
    } else {
        "GET"
    };
    let method = options.method.as_deref().unwrap_or(default);
    let mut request = Request::builder().method(method).uri(&url.path).version(Version::HTTP_11);
    let given = |name: &str| options.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let mut defaults = vec![
        (HOST, url.authority()),
        (USER_AGENT, options.agent.clone().unwrap_or_else(|| "curl/8.11.1".to_owned())),
        (ACCEPT, "*/*".to_owned()),
    ];
    if let Some(user) = options.user.as_ref().or(url.user.as_ref()) {
        use base64::{Engine, engine::general_purpose::STANDARD};
        defaults.push((AUTHORIZATION, format!("Basic {}", STANDARD.encode(user))));
    }
    if body.is_some() {
        defaults.push((CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()));
    }
    for (name, value) in defaults.into_iter().filter(|(name, _)| !given(name.as_str())) {
        request = request.header(name, value);
    }
    // `-H 'Name:'` takes a header away.
    for (name, value) in options.headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(name, value);
    }
    let body = Full::from(Bytes::from(body.unwrap_or_default()));
    request.body(body).map_err(|_| failed(3, "URL rejected: Malformed input to a URL function"))
}

fn explain(url: &Url, error: &Error, took: Duration) -> Failed {
    let Url { host, port, .. } = url;
    let time = took.as_millis();
    match error {
        Error::Name(_) => failed(6, format!("Could not resolve host: {host}")),
        Error::Connect(_, Failure::Dropped) => failed(28, format!("Connection timed out after {time} milliseconds")),
        Error::Connect(..) => {
            failed(7, format!("Failed to connect to {host} port {port} after {time} ms: Could not connect to server"))
        }
        Error::Tls(why) if why == "wrong version number" => {
            failed(35, "TLS connect error: error:0A00010B:SSL routines::wrong version number")
        }
        Error::Tls(why) => failed(60, format!("SSL certificate problem: {why}")),
        Error::Broken => failed(52, "Empty reply from server"),
    }
}

async fn show_head(call: &Call<'_>, options: &Options, answer: &Answer) -> Result<(), Failed> {
    if !options.include && !options.head && !options.verbose {
        return Ok(());
    }
    let status = answer.response.status();
    let mut lines = vec![format!("HTTP/1.1 {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())];
    let headers = answer.response.headers().iter();
    lines.extend(headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default())));
    lines.push(String::new());
    if options.verbose {
        let text: String = lines.iter().map(|line| format!("< {line}\n")).collect();
        let _ = call.warn(text).await;
    }
    if options.include || options.head {
        let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        call.print(text).await.map_err(|_| broken())?;
    }
    Ok(())
}

fn broken() -> Failed {
    failed(23, "Failure writing output to destination")
}

async fn save(
    call: &Call<'_>,
    options: &Options,
    url: &Url,
    answer: Answer,
    report: &mut Report,
) -> Result<(), Failed> {
    let named = url.path.split('?').next().and_then(|path| path.rsplit('/').next());
    let output = match &options.output {
        Some(file) => Some(file.as_str()),
        None if options.remote_name => named,
        None => None,
    };
    let mut target = None;
    // The machine's folder has no such device.
    if let Some(file) = output.filter(|file| *file != "-" && *file != "/dev/null") {
        let opened = call.shell.world.files.write(&call.path(file), false);
        target = Some(opened.map_err(|_| broken())?);
    }
    let silent = output == Some("/dev/null");
    let mut body = answer.response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| failed(18, "transfer closed with outstanding read data remaining"))?;
        let Ok(data) = frame.into_data() else { continue };
        report.size += data.len();
        match &mut target {
            Some(_) if report.size > MAX_BODY => return Err(broken()),
            Some(file) => file.write_all(&data).map_err(|_| broken())?,
            None if silent => {}
            None => call.streams.stdout.write(&data).await.map_err(|_| broken())?,
        }
    }
    Ok(())
}

/// `--write-out`'s format, filled in.
fn written_out(format: &str, report: &Report, took: Duration) -> String {
    let seconds = format!("{:.6}", took.as_secs_f64());
    let mut text = format.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r");
    let (ip, port) =
        report.from.map_or((String::new(), "0".to_owned()), |at| (at.ip().to_string(), at.port().to_string()));
    for (name, value) in [
        ("http_code", format!("{:03}", report.status)),
        ("response_code", format!("{:03}", report.status)),
        ("time_total", seconds.clone()),
        ("time_connect", seconds),
        ("size_download", report.size.to_string()),
        ("num_redirects", report.redirects.to_string()),
        ("content_type", report.content_type.clone()),
        ("remote_ip", ip),
        ("remote_port", port),
        ("url_effective", report.url.clone()),
        ("url", report.url.clone()),
    ] {
        text = text.replace(&format!("%{{{name}}}"), &value);
    }
    text
}
