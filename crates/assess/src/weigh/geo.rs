//! Where an address is registered, from MMDB files that the user has.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use maxminddb::{Reader, geoip2};

use crate::finding::{ClientSummary, Grade, Origin, OriginRow};
use crate::fold::inert;

/// Largest file taken into memory.
const MAX_BYTES: u64 = 120 << 20;

/// Opened MMDB files: a country or city file, a network file, or both.
pub struct Geo {
    readers: Vec<Reader<Vec<u8>>>,
}

impl Geo {
    /// Opens the files; the error names the one that can't be used.
    pub fn open(paths: &[PathBuf]) -> Result<Self, String> {
        let one = |p: &Path| {
            let len = std::fs::metadata(p).map_err(|e| e.to_string())?.len();
            if len > MAX_BYTES {
                return Err(format!("{len} bytes; at most {MAX_BYTES} are read"));
            }
            let bytes = std::fs::read(p).map_err(|e| e.to_string())?;
            Reader::from_source(bytes).map_err(|e| e.to_string())
        };
        let readers = paths
            .iter()
            .map(|p| one(p).map_err(|e| format!("{} can't be used as an MMDB file: {e}", p.display())))
            .collect::<Result<_, _>>()?;
        Ok(Self { readers })
    }

    fn origin(&self, address: &str) -> Option<Origin> {
        let ip: IpAddr = address.parse().ok()?;
        let mut o = Origin { country: None, country_name: None, asn: None, network: None };
        for r in &self.readers {
            let Ok(found) = r.lookup(ip) else { continue };
            if let Ok(Some(c)) = found.decode::<geoip2::Country<'_>>() {
                o.country = o.country.or_else(|| c.country.iso_code.map(|s| inert(s.as_bytes())));
                o.country_name =
                    o.country_name.or_else(|| c.country.names.english.map(|s| inert(s.as_bytes())));
            }
            if let Ok(Some(a)) = found.decode::<geoip2::Asn<'_>>() {
                o.asn = o.asn.or(a.autonomous_system_number);
                o.network =
                    o.network.or_else(|| a.autonomous_system_organization.map(|s| inert(s.as_bytes())));
            }
        }
        Some(o)
    }

    /// Fills the clients' origins and makes the table: worst first, then most requests.
    pub fn fill(&self, clients: &mut [ClientSummary]) -> Vec<OriginRow> {
        let mut rows: BTreeMap<Origin, (u64, u64, Grade)> = BTreeMap::new();
        for c in clients {
            let Some(o) = self.origin(&c.address) else { continue };
            let row = rows.entry(o.clone()).or_insert((0, 0, Grade::NoTrace));
            row.0 += 1;
            row.1 += c.requests;
            row.2 = row.2.max(c.grade);
            c.origin = Some(o);
        }
        let mut out: Vec<OriginRow> = rows
            .into_iter()
            .map(|(origin, (clients, requests, grade))| OriginRow { origin, clients, requests, grade })
            .collect();
        out.sort_by(|a, b| {
            b.grade.cmp(&a.grade).then(b.requests.cmp(&a.requests)).then_with(|| a.origin.cmp(&b.origin))
        });
        out
    }
}
