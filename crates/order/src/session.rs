//! How long a session lives, and what the grant of a sign-in pays for. The vault holds grants to its own bounds; these are what
//! the console and the command line ask for, and what core gives whoever signs in by OpenID Connect.

use model::TimeMs;
use model::clock::{HOUR_MS, MINUTE_MS};

/// A session lives a working day, however it was begun.
pub const LIFE_MS: TimeMs = 8 * HOUR_MS;
/// One that only reads (OpenID Connect) ends sooner when it is not used for so long.
pub const IDLE_MS: TimeMs = 30 * MINUTE_MS;
/// So many names a sign-in in the browser may open.
pub const NAMES: u32 = 100;
/// So many searches it pays for.
pub const SEARCHES: u32 = 20;
