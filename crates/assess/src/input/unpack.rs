//! Decompressors and archives, within an allowance.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::sniff::{Shape, packed_as};
use super::streams::{Hashed, Limited, with_readahead};
use super::{Allowance, Content, Reading, tar};
use crate::finding::{InputKind, ReadState};
use crate::fold::inert;

/// Most members of a zip.
const MAX_ZIP_MEMBERS: u64 = 50_000;
/// Memory that one decompressor may ask for.
const MAX_WINDOW_LOG: u32 = 26;

/// The decompressor for a packed content.
fn decoder<'r>(shape: Shape, reader: &'r mut (dyn Read + Send)) -> io::Result<Box<dyn Read + Send + 'r>> {
    Ok(match shape {
        Shape::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(reader)),
        Shape::Xz => {
            let most = 1 << (MAX_WINDOW_LOG + 1);
            let stream = liblzma::stream::Stream::new_stream_decoder(most, liblzma::stream::CONCATENATED)
                .map_err(io::Error::other)?;
            Box::new(liblzma::read::XzDecoder::new_stream(reader, stream))
        }
        Shape::Zstd => {
            let mut unpacked = zstd::stream::read::Decoder::new(reader)?;
            unpacked.window_log_max(MAX_WINDOW_LOG)?;
            Box::new(unpacked)
        }
        _ => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, reader))),
    })
}

/// The digest of what a packed file holds, if that is so many bytes.
pub(super) fn unpacked_sha256(path: &Path, bytes: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut head = [0u8; 16];
    let n = file.read(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let shape = packed_as(head.get(..n).unwrap_or_default())
        .ok_or_else(|| io::Error::other("it is no longer packed as it was"))?;
    let mut unpacked = decoder(shape, &mut file)?.take(bytes + 1);
    let mut hashed = Hashed::new(&mut unpacked, true);
    io::copy(&mut hashed, &mut io::sink())?;
    match hashed.finish() {
        (n, Some(digest), None) if n == bytes => Ok(digest),
        _ => Err(io::Error::other("it no longer unpacks to what it did")),
    }
}

impl Reading<'_> {
    pub(super) fn unpack(
        &mut self,
        i: usize,
        shape: Shape,
        reader: &mut (dyn Read + Send),
        depth: u8,
        allowance: &mut Allowance,
    ) {
        let outcome = match shape {
            Shape::Tar => self.tar(i, reader, depth, allowance),
            Shape::Zip => self.zip_spooled(i, reader, depth, allowance),
            packed => decoder(packed, reader).and_then(|d| self.single(i, d, depth, allowance)),
        };
        if let Err(e) = outcome
            && let Some(c) = self.at(i)
        {
            let whole = matches!(c.state, ReadState::Whole);
            if whole {
                c.state = ReadState::Part(format!("unpacked in part: {e}"));
            }
        }
    }

    /// One compressed content.
    fn single(
        &mut self,
        i: usize,
        decoder: Box<dyn Read + Send + '_>,
        depth: u8,
        allowance: &mut Allowance,
    ) -> io::Result<()> {
        let outer = self.contents.get(i).map(|c| c.name.clone()).unwrap_or_default();
        let last = outer.rsplit('/').next().unwrap_or(&outer);
        let inner = [".gz", ".zst", ".xz", ".bz2", ".tgz", ".txz"]
            .iter()
            .find_map(|e| {
                last.strip_suffix(e)
                    .map(|b| if e.starts_with(".t") { format!("{b}.tar") } else { b.to_owned() })
            })
            .filter(|b| !b.is_empty())
            .unwrap_or_else(|| "(content)".into());
        let Some(member) = self.add(Content::new(format!("{outer}!/{inner}"), Some(i))) else {
            return Ok(());
        };
        // The file's own digest tells what was in it, too; a digest of both would cost as much as the reading.
        let hash = depth > 0 || self.contents.get(i).is_none_or(|c| c.path.is_none());
        let start = allowance.unpacked;
        let mut limited = Limited { inner: decoder, left: start, of: allowance.of };
        if depth == 0 && self.options.threads > 1 {
            // The decompressor gets a thread of its own.
            let left = with_readahead(&mut limited, |r| {
                let mut own = Allowance { unpacked: start, of: allowance.of };
                self.content(member, r, depth + 1, &mut own, hash);
                own.unpacked
            });
            allowance.unpacked = left.min(limited.left);
        } else {
            let mut own = Allowance { unpacked: start, of: allowance.of };
            self.content(member, &mut limited, depth + 1, &mut own, hash);
            allowance.unpacked = own.unpacked.min(limited.left);
        }
        let part = self.contents.get(member).map(|c| c.state.clone());
        if let (Some(ReadState::Part(why) | ReadState::NotRead(why)), Some(c)) = (part, self.at(i)) {
            c.state = ReadState::Part(format!("its content was read in part: {why}"));
        }
        Ok(())
    }

    fn tar(
        &mut self,
        i: usize,
        reader: &mut (dyn Read + Send),
        depth: u8,
        allowance: &mut Allowance,
    ) -> io::Result<()> {
        let outer = self.contents.get(i).map(|c| c.name.clone()).unwrap_or_default();
        let mut links = 0u64;
        let end = tar::walk(reader, &mut |m, body| {
            match m.kind {
                tar::Kind::Folder => return Ok(true),
                tar::Kind::Link | tar::Kind::Other => {
                    links += 1;
                    return Ok(true);
                }
                tar::Kind::File => {}
            }
            let name = m.name.get(..1024).unwrap_or(&m.name);
            let Some(member) = self.add(Content::new(format!("{outer}!/{}", inert(name)), Some(i))) else {
                return Ok(false);
            };
            if let Some(c) = self.at(member)
                && name.split(|b| *b == b'/').any(|s| s == b"..")
            {
                c.remarks.push(
                    "Its name climbs out of the archive (`..`); it was read in place, nothing was written."
                        .into(),
                );
            }
            self.content(member, body, depth + 1, allowance, true);
            Ok(true)
        });
        if links > 0
            && let Some(c) = self.at(i)
        {
            c.remarks.push(format!(
                "{links} link(s), device(s) or special member(s) were named but not followed."
            ));
        }
        end
    }

    /// A zip needs to be read from its end: one that comes as a stream is laid into an unnamed temporary file.
    fn zip_spooled(
        &mut self,
        i: usize,
        reader: &mut (dyn Read + Send),
        depth: u8,
        allowance: &mut Allowance,
    ) -> io::Result<()> {
        let mut spool = tempfile::tempfile()?;
        let copied = io::copy(&mut reader.take(allowance.of), &mut spool)?;
        if copied == allowance.of {
            return Err(io::Error::other(format!("larger than {copied} bytes")));
        }
        spool.flush()?;
        self.zip(i, spool, depth, allowance)
    }

    pub(super) fn zip(
        &mut self,
        i: usize,
        mut file: File,
        depth: u8,
        allowance: &mut Allowance,
    ) -> io::Result<()> {
        let claimed = zip_members(&mut file)?;
        if claimed > MAX_ZIP_MEMBERS {
            return Err(io::Error::other(format!(
                "a zip with {claimed} members; at most {MAX_ZIP_MEMBERS} are read"
            )));
        }
        let outer = self.contents.get(i).map(|c| c.name.clone()).unwrap_or_default();
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(io::Error::other)?;
        for n in 0..archive.len() {
            let label = archive
                .name_for_index(n)
                .and_then(Result::ok)
                .map_or_else(|| "(unreadable name)".to_owned(), |s| s.chars().take(1024).collect());
            let opened = archive.by_index(n);
            if opened.as_ref().is_ok_and(|f| f.is_dir()) {
                continue;
            }
            let Some(member) =
                self.add(Content::new(format!("{outer}!/{}", inert(label.as_bytes())), Some(i)))
            else {
                return Ok(());
            };
            match opened {
                Ok(f) if f.is_symlink() => {
                    if let Some(c) = self.at(member) {
                        c.state = ReadState::NotALog("a link; it was not followed".into());
                    }
                }
                Ok(mut f) => {
                    let mut limited = Limited { inner: &mut f, left: allowance.unpacked, of: allowance.of };
                    let mut own = Allowance { unpacked: allowance.unpacked, of: allowance.of };
                    let mut sent = ReadAll(&mut limited);
                    self.content(member, &mut sent, depth + 1, &mut own, true);
                    allowance.unpacked = own.unpacked.min(limited.left);
                }
                Err(e) => {
                    if let Some(c) = self.at(member) {
                        c.state = ReadState::NotRead(format!("this member can't be opened: {e}"));
                    }
                }
            }
        }
        Ok(())
    }
}

struct ReadAll<'a, R>(&'a mut R);

impl<R: Read> Read for ReadAll<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

/// The number of members that a zip claims at its end (65,535 stands for "more").
fn zip_members(file: &mut File) -> io::Result<u64> {
    let len = file.seek(SeekFrom::End(0))?;
    let tail = len.min(66_000);
    file.seek(SeekFrom::Start(len - tail))?;
    let mut end = Vec::new();
    file.take(tail).read_to_end(&mut end)?;
    file.seek(SeekFrom::Start(0))?;
    let at = memchr::memmem::rfind(&end, b"PK\x05\x06")
        .ok_or_else(|| tar::cut("the zip has no directory at its end (cut off?)".into()))?;
    let number = |at: usize, n: usize| {
        end.get(at..at + n).unwrap_or_default().iter().rev().fold(0u64, |x, b| (x << 8) | u64::from(*b))
    };
    let short = number(at + 10, 2);
    if short < 65_535 {
        return Ok(short);
    }
    Ok(memchr::memmem::rfind(&end, b"PK\x06\x06").map_or(short, |z| number(z + 32, 8)))
}

/// A member that is a folder, for the list of contents.
pub(super) fn not_a_file(name: String, why: &str) -> Content {
    let mut c = Content::new(name, None);
    c.kind = InputKind::Folder;
    c.state = ReadState::NotRead(why.to_owned());
    c
}
