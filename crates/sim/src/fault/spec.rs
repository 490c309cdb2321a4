//! The text form of faults: `name;key=value;key=value`, several joined by `,`. One grammar for headers, model names and rules.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::names::{arguments_of, instead_of_argument, instead_of_fault};
use super::{ErrorAnswer, ErrorKind, Fault, Latency};

/// Faults in one spec. More would only hide which one acted.
const MAX_FAULTS: usize = 8;
/// Longest wait that can be asked for: beyond any client's patience (the SDKs give up after ten minutes), short of leaking.
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// Shortest time between keep-alives: an hour of them is a script of 36,000 steps.
const MIN_PING: Duration = Duration::from_millis(100);

/// Why a spec is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No such fault.
    #[error("unknown fault {0:?}{instead}", instead = instead_of_fault(.0))]
    UnknownFault(String),
    /// The fault has no such argument.
    #[error("fault {fault:?} takes no {key:?}{instead}", instead = instead_of_argument(fault, key))]
    UnknownArgument {
        /// Name of the fault.
        fault: String,
        /// The argument.
        key: String,
    },
    /// The argument is given twice.
    #[error("fault {fault:?} takes {key:?} once")]
    RepeatedArgument {
        /// Name of the fault.
        fault: String,
        /// The argument.
        key: String,
    },
    /// The fault needs this argument.
    #[error("fault {fault:?} needs {key}")]
    MissingArgument {
        /// Name of the fault.
        fault: String,
        /// The argument.
        key: &'static str,
    },
    /// The value is not what the argument takes.
    #[error("fault {fault:?}: {key}={value:?} is not {allowed}")]
    BadValue {
        /// Name of the fault.
        fault: String,
        /// The argument.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: Cow<'static, str>,
    },
    /// More than eight faults in one spec.
    #[error("more than {MAX_FAULTS} faults in one spec")]
    TooMany,
    /// A ramp in a header or a model name.
    #[error("a latency ramp needs a rule: a single request has no start to ramp from")]
    RampWithoutRule,
}

/// Parses one or more faults, joined by `,`.
///
/// # Errors
/// The first thing that is not understood; nothing is ignored.
pub fn parse_specs(text: &str) -> Result<Vec<Fault>, SpecError> {
    let faults: Vec<Fault> = text.split(',').map(|one| one.trim().parse()).collect::<Result<_, _>>()?;
    if faults.len() > MAX_FAULTS { Err(SpecError::TooMany) } else { Ok(faults) }
}

impl FromStr for Fault {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut arguments = Arguments::parse(text)?;
        fault_of(&mut arguments)
    }
}

fn fault_of(arguments: &mut Arguments) -> Result<Fault, SpecError> {
    Ok(match arguments.fault.as_str() {
        "latency" => Fault::Latency(latency(arguments)?),
        "first_token" => Fault::FirstToken { delay: arguments.wait("ms")?, ping_every: arguments.optional_ping()? },
        "gap" => Fault::Gap { pause: arguments.wait("ms")?, ping_every: arguments.optional_ping()? },
        "error" => Fault::Error(error_answer(arguments)?),
        "refuse" => Fault::Refuse,
        "hang" => Fault::Hang,
        "empty" => Fault::Empty,
        "garbage" => Fault::Garbage,
        "stall" => Fault::Stall { after: arguments.after()?, pause: arguments.optional_wait("ms")? },
        "cut" => Fault::Cut { after: arguments.after()?, reset: arguments.choice("how", ["close", "reset"])? },
        "end" => Fault::End { after: arguments.after()? },
        "bad_json" => Fault::BadJson,
        "bad_sse" => Fault::BadSse { after: arguments.after()? },
        "no_done" => Fault::NoDone,
        "no_finish" => Fault::NoFinish { after: arguments.after()? },
        "truncate" => Fault::Truncate { after: arguments.after()? },
        "wrong_length" => Fault::WrongLength { delta: arguments.number("delta", "a whole number")? },
        "error_event" => Fault::ErrorEvent {
            after: arguments.after()?,
            kind: arguments.optional_kind()?.unwrap_or(ErrorKind::Overloaded),
        },
        "drip" => {
            Fault::Drip { bytes_per_s: arguments.number("bytes_per_s", "1 to 4294967295").and_then(at_least_one)? }
        }
        "emoji" => {
            Fault::Emoji { after: arguments.after()?, surrogates: arguments.choice("how", ["bytes", "surrogates"])? }
        }
        "prompt_filter" => Fault::PromptFilter,
        "reject_prefill" => Fault::RejectPrefill,
        "refusal" => Fault::Refusal { after: arguments.after()? },
        unknown => return Err(SpecError::UnknownFault(unknown.to_owned())),
    })
}

fn at_least_one(bytes_per_s: u32) -> Result<u32, SpecError> {
    if bytes_per_s > 0 {
        return Ok(bytes_per_s);
    }
    Err(SpecError::BadValue {
        fault: "drip".into(),
        key: "bytes_per_s",
        value: "0".into(),
        allowed: "1 to 4294967295".into(),
    })
}

fn latency(arguments: &mut Arguments) -> Result<Latency, SpecError> {
    let fixed = arguments.values.contains_key("ms");
    if fixed && arguments.values.len() == 1 {
        return Ok(Latency::Fixed(arguments.wait("ms")?));
    }
    if fixed || arguments.values.is_empty() {
        return Err(arguments.missing("ms alone, or from_ms, to_ms and over_ms"));
    }
    Ok(Latency::Ramp {
        from: arguments.wait("from_ms")?,
        to: arguments.wait("to_ms")?,
        over: arguments.wait("over_ms")?,
    })
}

fn error_answer(arguments: &mut Arguments) -> Result<ErrorAnswer, SpecError> {
    let status = match arguments.optional_number("status", "400 to 599")? {
        None => None,
        Some(code @ 400..=599) => http::StatusCode::from_u16(code).ok(),
        Some(code) => return Err(arguments.bad("status", &code.to_string(), "400 to 599")),
    };
    let kind = arguments.optional_kind()?;
    if status.is_none() && kind.is_none() {
        return Err(arguments.missing("status or kind"));
    }
    Ok(ErrorAnswer {
        status,
        kind,
        retry_after_s: arguments.optional_number("retry_after", "seconds")?,
        retry_after_ms: arguments.optional_number("retry_after_ms", "milliseconds")?,
    })
}

/// The arguments of one fault, each known to it; taking one removes it.
struct Arguments {
    fault: String,
    values: BTreeMap<String, String>,
}

impl Arguments {
    fn parse(text: &str) -> Result<Self, SpecError> {
        let mut items = text.split(';').map(str::trim);
        let fault = items.next().unwrap_or_default().to_owned();
        let Some(known) = arguments_of(&fault) else { return Err(SpecError::UnknownFault(fault)) };
        let mut values = BTreeMap::new();
        for item in items {
            let (key, value) = item.split_once('=').unwrap_or((item, ""));
            if !known.contains(&key) {
                return Err(SpecError::UnknownArgument { fault, key: key.to_owned() });
            }
            if values.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(SpecError::RepeatedArgument { fault, key: key.to_owned() });
            }
        }
        Ok(Self { fault, values })
    }

    fn optional_number<T: FromStr>(
        &mut self,
        key: &'static str,
        allowed: &'static str,
    ) -> Result<Option<T>, SpecError> {
        let Some(value) = self.values.remove(key) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| self.bad(key, &value, allowed))
    }

    fn number<T: FromStr>(&mut self, key: &'static str, allowed: &'static str) -> Result<T, SpecError> {
        self.optional_number(key, allowed)?.ok_or_else(|| self.missing(key))
    }

    fn optional_wait(&mut self, key: &'static str) -> Result<Option<Duration>, SpecError> {
        let allowed = "milliseconds, at most one hour";
        let Some(wait) = self.optional_number(key, allowed)?.map(Duration::from_millis) else { return Ok(None) };
        if wait > MAX_WAIT { Err(self.bad(key, &wait.as_millis().to_string(), allowed)) } else { Ok(Some(wait)) }
    }

    fn optional_ping(&mut self) -> Result<Option<Duration>, SpecError> {
        let every = self.optional_wait("ping_ms")?;
        match every.filter(|every| *every < MIN_PING) {
            Some(every) => Err(self.bad("ping_ms", &every.as_millis().to_string(), "100 to 3600000 milliseconds")),
            None => Ok(every),
        }
    }

    fn wait(&mut self, key: &'static str) -> Result<Duration, SpecError> {
        self.optional_wait(key)?.ok_or_else(|| self.missing(key))
    }

    fn after(&mut self) -> Result<u32, SpecError> {
        Ok(self.optional_number("after", "a number of tokens")?.unwrap_or(0))
    }

    /// Whether the second of two words was given; the first is the default.
    fn choice(&mut self, key: &'static str, words: [&'static str; 2]) -> Result<bool, SpecError> {
        let [first, second] = words;
        match self.values.remove(key) {
            None => Ok(false),
            Some(word) if word == first => Ok(false),
            Some(word) if word == second => Ok(true),
            Some(word) => Err(self.bad(key, &word, format!("{first} or {second}"))),
        }
    }

    fn optional_kind(&mut self) -> Result<Option<ErrorKind>, SpecError> {
        let Some(name) = self.values.remove("kind") else { return Ok(None) };
        let known = ErrorKind::ALL.into_iter().find(|kind| kind.name() == name);
        known.map(Some).ok_or_else(|| {
            let kinds = ErrorKind::ALL.map(ErrorKind::name).join(", ");
            self.bad("kind", &name, format!("one of {kinds}"))
        })
    }

    fn missing(&self, key: &'static str) -> SpecError {
        SpecError::MissingArgument { fault: self.fault.clone(), key }
    }

    fn bad(&self, key: &'static str, value: &str, allowed: impl Into<Cow<'static, str>>) -> SpecError {
        let (fault, value) = (self.fault.clone(), value.to_owned());
        SpecError::BadValue { fault, key, value, allowed: allowed.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(Latency::Fixed(delay)) => write!(f, "latency;ms={}", delay.as_millis()),
            Self::Latency(Latency::Ramp { from, to, over }) => {
                let (from, to, over) = (from.as_millis(), to.as_millis(), over.as_millis());
                write!(f, "latency;from_ms={from};to_ms={to};over_ms={over}")
            }
            Self::FirstToken { delay, ping_every } => {
                write!(f, "first_token;ms={}", delay.as_millis())?;
                argument(f, "ping_ms", ping_every.map(|every| every.as_millis()))
            }
            Self::Gap { pause, ping_every } => {
                write!(f, "gap;ms={}", pause.as_millis())?;
                argument(f, "ping_ms", ping_every.map(|every| every.as_millis()))
            }
            Self::Error(error) => {
                f.write_str("error")?;
                argument(f, "status", error.status.map(|status| status.as_u16()))?;
                argument(f, "kind", error.kind.map(ErrorKind::name))?;
                argument(f, "retry_after", error.retry_after_s)?;
                argument(f, "retry_after_ms", error.retry_after_ms)
            }
            Self::Refuse => f.write_str("refuse"),
            Self::Hang => f.write_str("hang"),
            Self::Empty => f.write_str("empty"),
            Self::Garbage => f.write_str("garbage"),
            Self::Stall { after, pause } => {
                write!(f, "stall;after={after}")?;
                argument(f, "ms", pause.map(|pause| pause.as_millis()))
            }
            Self::Cut { after, reset } => write!(f, "cut;after={after};how={}", if *reset { "reset" } else { "close" }),
            Self::End { after } => write!(f, "end;after={after}"),
            Self::BadJson => f.write_str("bad_json"),
            Self::BadSse { after } => write!(f, "bad_sse;after={after}"),
            Self::NoDone => f.write_str("no_done"),
            Self::NoFinish { after } => write!(f, "no_finish;after={after}"),
            Self::Truncate { after } => write!(f, "truncate;after={after}"),
            Self::WrongLength { delta } => write!(f, "wrong_length;delta={delta}"),
            Self::ErrorEvent { after, kind } => write!(f, "error_event;after={after};kind={}", kind.name()),
            Self::Drip { bytes_per_s } => write!(f, "drip;bytes_per_s={bytes_per_s}"),
            Self::Emoji { after, surrogates } => {
                write!(f, "emoji;after={after};how={}", if *surrogates { "surrogates" } else { "bytes" })
            }
            Self::PromptFilter => f.write_str("prompt_filter"),
            Self::RejectPrefill => f.write_str("reject_prefill"),
            Self::Refusal { after } => write!(f, "refusal;after={after}"),
        }
    }
}

fn argument(f: &mut fmt::Formatter<'_>, key: &str, value: Option<impl fmt::Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, ";{key}={value}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::names::FAULTS;
    use super::*;

    /// Every argument of every fault at least once.
    const SPECS: [&str; 30] = [
        "latency;ms=500",
        "latency;from_ms=0;to_ms=2000;over_ms=10000",
        "first_token;ms=20000",
        "first_token;ms=20000;ping_ms=100",
        "gap;ms=200",
        "gap;ms=20000;ping_ms=100",
        "error;status=503",
        "error;status=429;kind=quota;retry_after=2;retry_after_ms=1500",
        "refuse",
        "hang",
        "empty",
        "garbage",
        "stall;after=3",
        "stall;after=3;ms=30000",
        "cut;after=40;how=close",
        "cut;after=40;how=reset",
        "end;after=40",
        "bad_json",
        "bad_sse;after=2",
        "no_done",
        "no_finish;after=3",
        "truncate;after=5",
        "wrong_length;delta=-10",
        "error_event;after=0;kind=overloaded",
        "drip;bytes_per_s=1",
        "emoji;after=2;how=bytes",
        "emoji;after=2;how=surrogates",
        "prompt_filter",
        "reject_prefill",
        "refusal;after=4",
    ];

    #[test]
    fn the_faults_and_arguments_that_are_read_are_those_that_are_listed() {
        let mut read = BTreeMap::<&str, BTreeSet<&str>>::new();
        for spec in SPECS {
            let (fault, arguments) = spec.split_once(';').unwrap_or((spec, ""));
            let keys = arguments.split(';').filter_map(|argument| argument.split_once('=')).map(|(key, _)| key);
            read.entry(fault).or_default().extend(keys);
        }
        let listed = FAULTS.iter().map(|(fault, arguments)| (*fault, arguments.iter().copied().collect()));
        assert_eq!(read, listed.collect());
    }

    #[test]
    fn every_fault_reads_back_what_it_prints() {
        for spec in SPECS {
            let fault: Fault = spec.parse().unwrap_or_else(|error| panic!("{spec}: {error}"));
            assert_eq!(fault.to_string(), spec);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (spec, expected) in [
            ("hang;ms=3", "fault \"hang\" takes no \"ms\"; it takes no argument"),
            ("gap;ms=3;ms=4", "fault \"gap\" takes \"ms\" once"),
            (
                "latency;mss=500",
                "fault \"latency\" takes no \"mss\"; did you mean ms?; it takes ms, from_ms, to_ms, over_ms",
            ),
            ("latency", "fault \"latency\" needs ms alone, or from_ms, to_ms and over_ms"),
            ("latency;ms=1;to_ms=2", "fault \"latency\" needs ms alone, or from_ms, to_ms and over_ms"),
            ("latency;from_ms=1", "fault \"latency\" needs to_ms"),
            ("error", "fault \"error\" needs status or kind"),
            ("error;status=200", "fault \"error\": status=\"200\" is not 400 to 599"),
            (
                "error;kind=odd",
                "fault \"error\": kind=\"odd\" is not one of invalid_request, context_length, content_filter, \
                 prefill_rejected, invalid_key, permission, not_found, too_large, rate_limit, quota, server, overloaded, \
                 timeout",
            ),
            ("cut;how=slowly", "fault \"cut\": how=\"slowly\" is not close or reset"),
            ("gap;ms=3600001", "fault \"gap\": ms=\"3600001\" is not milliseconds, at most one hour"),
            ("first_token;ms=9;ping_ms=9", "fault \"first_token\": ping_ms=\"9\" is not 100 to 3600000 milliseconds"),
            ("drip;bytes_per_s=0", "fault \"drip\": bytes_per_s=\"0\" is not 1 to 4294967295"),
            ("hang,hang,hang,hang,hang,hang,hang,hang,hang", "more than 8 faults in one spec"),
        ] {
            assert_eq!(parse_specs(spec).unwrap_err().to_string(), expected, "{spec}");
        }
        for (spec, expected) in [
            ("", "unknown fault \"\"; there are latency, "),
            ("latencyy", "unknown fault \"latencyy\"; did you mean latency?"),
        ] {
            let told = parse_specs(spec).unwrap_err().to_string();
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
