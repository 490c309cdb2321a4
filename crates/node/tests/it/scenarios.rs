//! The table `scenarios.txt`: what a client sees of a provider's failure, how often each provider is asked, and how long
//! it takes.

use http_body_util::Full;
use meridian_sim::{Match, Rule};
use serde_json::Value;
use tokio::time::Instant;

use crate::support::{Sandbox, Setup, ask, ask_streamed, events, start};

/// What a busy machine may add to any time.
const SLACK: f64 = 2.0;

#[derive(Debug, Clone)]
struct Scenario {
    line: String,
    faults: [String; 2],
    model: String,
    streamed: bool,
    header: Option<(String, String)>,
    sees: String,
    asked: String,
    seconds: (f64, f64),
}

fn scenarios(table: &str) -> Vec<Scenario> {
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| kinds(line).iter().map(|streamed| scenario(line, *streamed))).collect()
}

fn columns(line: &str) -> Vec<&str> {
    line.split('|').map(str::trim).collect()
}

fn kinds(line: &str) -> &'static [bool] {
    match columns(line)[3] {
        "both" => &[false, true],
        "stream" => &[true],
        "whole" => &[false],
        other => panic!("{other:?} in {line}"),
    }
}

fn scenario(line: &str, streamed: bool) -> Scenario {
    let [first, second, model, _, header, sees, asked, seconds] = columns(line)[..] else {
        panic!("columns of {line}")
    };
    let (least, most) = seconds.split_once("..").unwrap();
    Scenario {
        line: columns(line).join(" | "),
        faults: [first, second].map(str::to_owned),
        model: model.to_owned(),
        streamed,
        header: header.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())),
        sees: sees.to_owned(),
        asked: asked.to_owned(),
        seconds: (least.parse().unwrap(), most.parse().unwrap()),
    }
}

fn strike(sandbox: &Sandbox, which: usize, spec: &str) {
    if spec == "-" {
        return;
    }
    let (fault, count) = spec.split_once(" x").map_or((spec, None), |(fault, n)| (fault, Some(n.parse().unwrap())));
    // Only chat: the rest is probes.
    let matches = Match { path: Some("/v1/*".to_owned()), ..Match::default() };
    let rule = Rule { name: "test".into(), matches, fault: fault.to_owned(), count, probability: None };
    sandbox.sims[which].rules().put(rule).unwrap();
}

/// What the client sees, in the words of the table.
async fn seen(sandbox: &Sandbox, scenario: &Scenario) -> String {
    let body = if scenario.streamed { ask_streamed(&scenario.model) } else { ask(&scenario.model) };
    let mut request = sandbox.request(&body);
    if let Some((name, value)) = &scenario.header {
        request = request.header(name, value);
    }
    let answer = sandbox.whole(request.body(Full::new(body.to_string().into())).unwrap()).await;
    let mut words = vec![answer.status.as_u16().to_string()];
    if answer.status == 200 {
        words.extend(answer.header("x-meridian-provider").map(str::to_owned));
        let last = if scenario.streamed { events(&answer.body).pop() } else { None };
        let last = last.and_then(|last| serde_json::from_str::<Value>(&last).ok());
        words.extend(last.and_then(|last| last["error"]["code"].as_str().map(|code| format!("+{code}"))));
    } else {
        // The wording of a client's mistake is the provider's.
        words.push(if answer.status == 400 { "-".to_owned() } else { answer.code() });
        words.extend(answer.header("x-should-retry").map(|retry| format!("retry={retry}")));
    }
    words.join(" ")
}

async fn check(codec: &'static str, scenario: Scenario) -> Result<(), String> {
    let sandbox = start(Setup { codecs: [codec; 2], ..Setup::default() }).await;
    for (which, fault) in scenario.faults.iter().enumerate() {
        strike(&sandbox, which, fault);
    }
    let started = Instant::now();
    let sees = seen(&sandbox, &scenario).await;
    let took = started.elapsed().as_secs_f64();
    let asked = [0, 1].map(|which| {
        let seen = sandbox.seen(which);
        seen.iter().filter(|seen| seen.method == "POST").count().to_string()
    });
    let expected = (scenario.sees.clone(), scenario.asked.clone());
    let found = (sees, asked.join(","));
    let in_time = took >= scenario.seconds.0 * 0.99 && took <= scenario.seconds.1 + SLACK;
    match found == expected && in_time {
        true => Ok(()),
        false => Err(format!(
            "{codec} stream={} {}\n    found {found:?} after {took:.2} s",
            scenario.streamed, scenario.line
        )),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_of_the_table_holds() {
    let scenarios = scenarios(include_str!("scenarios.txt"));
    assert!(scenarios.len() > 40, "the table was read");
    let codecs = ["openai_compatible", "anthropic"];
    let all: Vec<_> = codecs.into_iter().flat_map(|codec| scenarios.iter().map(move |s| (codec, s.clone()))).collect();
    let mut wrong = Vec::new();
    // A few at a time: each has a node and two simulators of its own.
    for some in all.chunks(16) {
        let some = some.iter().map(|(codec, scenario)| check(codec, scenario.clone()));
        wrong.extend(futures::future::join_all(some).await.into_iter().filter_map(Result::err));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}
