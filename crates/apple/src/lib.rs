//! Apple's device protocol: check-in and command messages, profiles, SCEP messages. Bytes to types and back. Pure.

pub mod cms;
pub mod csr;
pub mod scep;
pub mod x509;
