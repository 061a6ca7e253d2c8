//! One word for one thing, in every output.

use crate::finding::{
    Confidence, CoverageGrade, Grade, GroundKind, IndicatorKind, InputKind, IntegrityKind, Layout, ReadState,
    Stage, Verdict,
};

/// The verdict as the report's title.
pub fn verdict(v: Verdict) -> &'static str {
    match v {
        Verdict::Unknown => "Unknown",
        Verdict::NoTrace => "No trace found",
        Verdict::Probed => "Probed",
        Verdict::Attempted => "Attempted",
        Verdict::LikelyCompromised => "Likely compromised",
        Verdict::DataLeft => "Data left",
    }
}

/// What the verdict means, and does not mean, in one or two sentences.
pub fn verdict_means(v: Verdict) -> &'static str {
    match v {
        Verdict::Unknown => {
            "Nothing was found, but too little was read to say that there is no trace. Treat it as an open question."
        }
        Verdict::NoTrace => {
            "Nothing was found in what was read. That is not proof that nothing happened: logs rotate, and intruders \
             erase lines."
        }
        Verdict::Probed => {
            "Somebody looked for the flaw. Nothing that was read shows that they tried to use it or got in."
        }
        Verdict::Attempted => {
            "Somebody sent what would exploit the flaw. Whether it worked is not in a status code; nothing that was \
             read shows what came after."
        }
        Verdict::LikelyCompromised => {
            "Assume that intruders ran their own commands on the appliance. Act now; the proof can come later."
        }
        Verdict::DataLeft => {
            "Data went out to an address that must not have it. Treat it as a personal data breach from this minute."
        }
    }
}

/// A grade in lower case, for running text.
pub fn grade(g: Grade) -> &'static str {
    match g {
        Grade::NoTrace => "no trace found",
        Grade::Probed => "probed",
        Grade::Attempted => "attempted",
        Grade::LikelyCompromised => "likely compromised",
        Grade::DataLeft => "data left",
    }
}

/// How much was read.
pub fn coverage(c: CoverageGrade) -> &'static str {
    match c {
        CoverageGrade::None => "none",
        CoverageGrade::Part => "part",
        CoverageGrade::Whole => "whole",
    }
}

/// A stage as a short noun.
pub fn stage(s: Stage) -> &'static str {
    match s {
        Stage::Probe => "probe",
        Stage::Attempt => "exploit attempt",
        Stage::ApiAccess => "API access",
        Stage::Loader => "class loader",
        Stage::Upload => "chunked upload",
        Stage::Stage => "staged file",
        Stage::Fetch => "fetch",
        Stage::Tunnel => "tunnel",
        Stage::Persistence => "new administrator or policy",
        Stage::Destruction => "wipe or lock",
        Stage::KnownFile => "known bad file",
        Stage::Indicator => "public indicator",
        Stage::Scanner => "scanner",
    }
}

/// What somebody did in a step: an after-step that counts as a probe was asked for, and no more.
pub fn step_did(stage: Stage, grade: Grade) -> &'static str {
    match stage {
        Stage::ApiAccess | Stage::Loader | Stage::Fetch | Stage::Tunnel if grade <= Grade::Probed => {
            "asked for what intruders ask for; nothing shows that it was there"
        }
        _ => stage_did(stage),
    }
}

/// A stage as what somebody did, to follow "an outside address".
pub fn stage_did(s: Stage) -> &'static str {
    match s {
        Stage::Probe => "looked whether the flaw is there",
        Stage::Attempt => "sent text that would exploit the flaw",
        Stage::ApiAccess => "used an interface that must refuse strangers, and it answered",
        Stage::Loader => "asked for a page that loads an intruder's program",
        Stage::Upload => "sent a file in small pieces",
        Stage::Stage => "asked for a file whose name or sudden appearance is suspect",
        Stage::Fetch => "fetched a file that an intruder had laid down",
        Stage::Tunnel => "opened a tunnel into the network",
        Stage::Persistence => "made an administrator, an app or a policy",
        Stage::Destruction => "ordered phones to be wiped or locked",
        Stage::KnownFile => "left a file known from a campaign",
        Stage::Indicator => "matches a published indicator",
        Stage::Scanner => "calls itself, or is known as, a scanner",
    }
}

/// How sure a fact is.
pub fn confidence(c: Confidence) -> &'static str {
    match c {
        Confidence::Verified => "read in public text",
        Confidence::SecondHand => "second-hand",
        Confidence::FromMemory => "from memory, unconfirmed",
        Confidence::Inferred => "our inference",
    }
}

/// The one-letter mark that docs/assess.md explains: V, 2, M, I.
pub fn confidence_mark(c: Confidence) -> &'static str {
    match c {
        Confidence::Verified => "V",
        Confidence::SecondHand => "2",
        Confidence::FromMemory => "M",
        Confidence::Inferred => "I",
    }
}

/// What a grade rests on.
pub fn ground(g: GroundKind) -> &'static str {
    match g {
        GroundKind::Route => "the route alone",
        GroundKind::ExploitText => "exploit text in a request",
        GroundKind::VersionOpenThatDay => "exploit text against a version open to it that day",
        GroundKind::AfterStep => "a step that follows a break-in",
        GroundKind::AnsweredWithData => "an answer with data where a refusal was due",
        GroundKind::StagedFileFetched => "a laid-down file that was fetched",
        GroundKind::Indicator => "a published indicator",
        GroundKind::KnownFile => "a known bad file on the disk",
    }
}

/// A layout's name.
pub fn layout(l: Layout) -> &'static str {
    match l {
        Layout::EpmmAccess => "EPMM https-access_log (A)",
        Layout::EpmmRequest => "EPMM https-request_log (B)",
        Layout::Common => "Apache Common",
        Layout::Combined => "Apache Combined",
        Layout::Custom => "as told with --format",
        Layout::W3c => "W3C columns (IIS)",
        Layout::CloudFront => "Amazon CloudFront",
        Layout::Alb => "AWS load balancer",
        Layout::Haproxy => "HAProxy httplog",
        Layout::Json => "JSON lines",
        Layout::SentryAudit => "Sentry audit log",
        Layout::EpmmAudit => "EPMM audit export",
        Layout::FileListing => "file listing",
        Layout::Unrecognised => "not recognised",
    }
}

/// What a file is.
pub fn input_kind(k: InputKind) -> &'static str {
    match k {
        InputKind::WebLog => "web log",
        InputKind::JsonLines => "JSON lines",
        InputKind::EpmmAudit => "EPMM audit",
        InputKind::SentryAudit => "Sentry audit",
        InputKind::FileListing => "file listing",
        InputKind::Archive => "archive",
        InputKind::Folder => "folder",
        InputKind::Other => "other",
        InputKind::Empty => "empty",
    }
}

/// Whether a file was read, in a word, and why not.
pub fn read_state(r: &ReadState) -> (&'static str, &str) {
    match r {
        ReadState::Whole => ("whole", ""),
        ReadState::Part(why) => ("part", why),
        ReadState::NotRead(why) => ("not read", why),
        ReadState::NotALog(why) => ("not a log", why),
    }
}

/// A finding about the log itself.
pub fn integrity(k: IntegrityKind) -> &'static str {
    match k {
        IntegrityKind::Gap => "gap",
        IntegrityKind::Truncated => "cut file",
        IntegrityKind::TimeBackwards => "time runs backwards",
        IntegrityKind::MissingHere => "lines missing here",
        IntegrityKind::OnlyHere => "lines only here",
        IntegrityKind::Erased => "erased part",
        IntegrityKind::Thinned => "thinned lines",
        IntegrityKind::Unreadable => "unreadable line",
    }
}

/// What an indicator is.
pub fn indicator(k: IndicatorKind) -> &'static str {
    match k {
        IndicatorKind::Address => "address",
        IndicatorKind::Url => "URL",
        IndicatorKind::Domain => "domain",
        IndicatorKind::FileHash => "file hash",
        IndicatorKind::FileName => "file name",
        IndicatorKind::UserAgent => "user agent",
    }
}
