//! What the door is measured against: the least that could stand in its place. The same TLS
//! configuration (certificate, CA, tickets), the same runtime with the same two threads, the same
//! phones and connections, a process of its own; and nothing behind it.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Which bare server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bare {
    /// rustls alone: the handshake, then the same fixed bytes in answer to whatever comes. No HTTP.
    Rustls,
    /// rustls and hyper: takes each body in whole and gives the body that the door gives an idle phone.
    Hyper,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BareArgs {
    server: Bare,
    /// The rooms' folder, whose door's TLS it takes over.
    rooms: PathBuf,
}

/// The door's answer to an idle phone, as bytes.
const NOTHING_TO_DO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Runs a bare server on a free port of this machine, which it prints, until it is killed.
pub(crate) fn serve(args: &BareArgs) -> Result<()> {
    let config = crate::config::Config::default().door(&args.rooms);
    let acceptor = TlsAcceptor::from(door::tls_of(&config)?);
    let server = args.server;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                // A phone that goes away is no event here.
                let _ = match server {
                    Bare::Rustls => tls_alone(stream, acceptor).await,
                    Bare::Hyper => tls_and_hyper(stream, acceptor).await,
                };
            });
        }
    })
}

async fn tls_alone(stream: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    let mut tls = acceptor.accept(stream).await?;
    let mut bytes = vec![0; 16 * 1024];
    // An idle phone's request comes in one record.
    while tls.read(&mut bytes).await? > 0 {
        tls.write_all(NOTHING_TO_DO).await?;
        tls.flush().await?;
    }
    Ok(())
}

async fn tls_and_hyper(stream: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    let tls = acceptor.accept(stream).await?;
    let service = service_fn(|request: hyper::Request<Incoming>| async move {
        let taken_in = request.into_body().collect().await;
        let status = if taken_in.is_ok() { 200 } else { 400 };
        let mut response = hyper::Response::new(Full::new(Bytes::new()));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        Ok::<_, Infallible>(response)
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
    Ok(())
}

/// A bare server that runs; ended when dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Running {
    /// Starts one with the TLS of the door in `house` (a data folder).
    pub(crate) fn start(server: Bare, house: &Path) -> Result<Self> {
        let word = server.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bare")
            .arg(word)
            .arg(house.join("rooms"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("a bare server")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("a bare server's words")?;
        BufReader::new(stdout).read_line(&mut line)?;
        match line.trim().parse() {
            Ok(address) => Ok(Self { child, address }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                bail!("a bare server did not start; its words are above")
            }
        }
    }
}

impl Running {
    /// Its CPU time so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> u64 {
        super::scratch::cpu_us_of(self.child.id()).unwrap_or(0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
