//! The vendor's signature: put on, put together, checked.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use apple::push_request::PushRequest;
use apple::x509::RsaSigner;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::json;

use super::{Folder, PORTAL, new_file, shown};
use crate::Place;
use crate::certificate::{fits, read_chain, read_file, read_key};
use crate::cli::failure::{Result, failed, usage};
use crate::cli::show;

#[derive(Debug, Args)]
pub(crate) struct Request {
    #[command(flatten)]
    place: Place,
    /// A vendor that gave only a signature (base64 or raw) over the request's DER: the file with it.
    #[arg(long, requires = "vendor_chain", conflicts_with = "signed", value_name = "FILE")]
    vendor_signature: Option<PathBuf>,
    /// The vendor's certificate, then who issued it, up to Apple's root (PEM or DER); may be given again.
    #[arg(long, requires = "vendor_signature", value_name = "FILE")]
    vendor_chain: Vec<PathBuf>,
    /// Check what a vendor sent, before it is uploaded.
    #[arg(long, value_name = "FILE")]
    signed: Option<PathBuf>,
    /// Where the signed request goes (must not exist).
    #[arg(long, default_value = "push-request.txt", value_name = "FILE")]
    out: PathBuf,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VendorSign {
    /// The hospital's request (PEM or DER).
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// The MDM vendor certificate that Apple gave you (PEM or DER); who issued it may follow in the same file.
    #[arg(long, value_name = "FILE")]
    vendor_cert: PathBuf,
    /// Its private key (RSA, PEM, without a passphrase).
    #[arg(long, value_name = "FILE")]
    vendor_key: PathBuf,
    /// Apple's WWDR and root certificates, in this order (PEM or DER); may be given again.
    #[arg(long, value_name = "FILE")]
    chain: Vec<PathBuf>,
    /// Where the signed request goes (must not exist).
    #[arg(long, default_value = "push-request.txt", value_name = "FILE")]
    out: PathBuf,
    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A certificate request as DER.
fn read_csr(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_file(path)?;
    let der = match pem::parse(bytes.as_slice()) {
        Ok(block) if block.tag().ends_with("CERTIFICATE REQUEST") => block.into_contents(),
        Ok(_) => return Err(usage(format!("{}: its PEM is no CERTIFICATE REQUEST", shown(path)))),
        Err(_) => bytes.to_vec(),
    };
    apple::csr::parse(&der).map_err(|e| failed(format!("{}: {e}", shown(path))))?;
    Ok(der)
}

fn read_chains(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    for path in paths {
        out.extend(read_chain(path)?.iter().map(|c| c.to_vec()));
    }
    Ok(out)
}

fn write_new(path: &PathBuf, text: &str) -> Result<()> {
    let told = |e: std::io::Error| failed(format!("{}: {e}", path.display()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(told)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(told)
}

pub(super) fn vendor_sign(args: &VendorSign) -> Result<()> {
    new_file(&args.out, "--out")?;
    let csr = read_csr(&args.csr)?;
    let vendor = read_chain(&args.vendor_cert)?;
    let key = read_key(&args.vendor_key)?;
    let first = vendor.first().ok_or_else(|| usage("--vendor-cert: no certificate"))?;
    if !fits(first, &key)? {
        return Err(failed(format!(
            "{} is not the key of {}; nothing was signed",
            shown(&args.vendor_key),
            shown(&args.vendor_cert)
        )));
    }
    let signer = RsaSigner::from_pkcs8(&pkcs8(&key)?).map_err(|e| failed(format!("--vendor-key: {e}")))?;
    let mut chain: Vec<Vec<u8>> = vendor.iter().map(|c| c.to_vec()).collect();
    chain.extend(read_chains(&args.chain)?);
    let request = PushRequest::sign(&csr, chain, &signer).map_err(failed)?;
    write_new(&args.out, &request.to_text().map_err(failed)?)?;
    tell(&args.out, args.json)
}

/// An RSA key as PKCS#8, also when its file has the older PKCS#1 form (`BEGIN RSA PRIVATE KEY`).
fn pkcs8(key: &rustls_pki_types::PrivateKeyDer<'_>) -> Result<zeroize::Zeroizing<Vec<u8>>> {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    match key {
        rustls_pki_types::PrivateKeyDer::Pkcs1(pkcs1) => {
            let pair = aws_lc_rs::rsa::KeyPair::from_der(pkcs1.secret_pkcs1_der())
                .map_err(|_| failed("--vendor-key: no RSA key of 2048 bits or more"))?;
            let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| failed("--vendor-key: it can't be read"))?;
            Ok(zeroize::Zeroizing::new(der.as_ref().to_vec()))
        }
        other => Ok(zeroize::Zeroizing::new(other.secret_der().to_vec())),
    }
}

fn tell(out: &Path, json: bool) -> Result<()> {
    if json {
        return show::print_json(&json!({ "request": out, "upload_at": PORTAL }));
    }
    show::print(&format!(
        "The signed request is in {}. Upload it at {PORTAL}\nThen: matron push import DOWNLOADED.pem\n",
        shown(out)
    ))
}

pub(super) fn request(args: &Request) -> Result<()> {
    let folder = Folder::of(&args.place.data)?;
    if !folder.next_csr().exists() {
        return Err(usage(format!(
            "there is no request in {}; make one with 'matron push csr'",
            folder.path().display()
        )));
    }
    let ours = read_csr(&folder.next_csr())?;
    if let Some(signed) = &args.signed {
        let request =
            PushRequest::parse(&read_file(signed)?).map_err(|e| failed(format!("{}: {e}", shown(signed))))?;
        if request.csr_der != ours {
            return Err(failed(format!(
                "{} is for another request than {}: Apple's certificate would not fit the key here. Send the \
                 vendor this one",
                shown(signed),
                folder.next_csr().display()
            )));
        }
        request.verify().map_err(|e| failed(format!("{}: {e}", shown(signed))))?;
        return tell(signed, args.json);
    }
    let Some(signature) = &args.vendor_signature else {
        let text = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", ours));
        if args.json {
            return show::print_json(&json!({ "request": folder.next_csr(), "pem": text }));
        }
        show::print(&text)?;
        eprintln!(
            "This goes to the vendor. It is not secret; its key stays in {}.",
            folder.next_key().display()
        );
        return Ok(());
    };
    new_file(&args.out, "--out")?;
    let raw = read_file(signature)?;
    let bare: Vec<u8> = raw.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    let signature = STANDARD.decode(bare).unwrap_or_else(|_| raw.to_vec());
    let request = PushRequest { csr_der: ours, chain: read_chains(&args.vendor_chain)?, signature };
    request.verify().map_err(failed)?;
    write_new(&args.out, &request.to_text().map_err(failed)?)?;
    tell(&args.out, args.json)
}
