//! What each verb calls, prints and exits with.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use meridian_proto::admin::v1::set_override_request::Change;
use meridian_types::KeyHash;

use crate::plane::{Plane, run};

const REGION: &str = "kind: Region\nname: eu-west\ncoordinates: {latitude: 53, longitude: -6}\njurisdiction: EU\n";

fn examples() -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_fault_is_injected_listed_and_ended() {
    let plane = Plane::start(None);
    let line = "fault inject --target a/m --region eu --share 10% --kind latency=500ms --for 10m --reason rehearsal";
    let injected = plane.run(&line.split(' ').collect::<Vec<_>>(), "");
    let told = "fault 0a1b2c3d holds until 2026-11-21T12:10:00Z; `meridian fault end 0a1b2c3d` ends it now\n";
    assert_eq!((injected.out.as_str(), injected.err.as_str()), (told, ""));
    let listed = plane.run(&["fault", "list"], "");
    assert!(listed.out.contains("0a1b2c3d  a:m       eu      10%    latency=500ms"), "{}", listed.out);
    assert_eq!(plane.run(&["fault", "end", "0a1b2c3d"], "").out, "fault 0a1b2c3d is over\n");
    assert_eq!(plane.run(&["fault", "list"], "").out, "no fault is injected\n");
    let again = plane.run(&["fault", "end", "0a1b2c3d"], "");
    assert_eq!((again.code, again.err.as_str()), (1, "error: no fault 0a1b2c3d is injected\n"));
}

#[test]
fn a_target_is_switched_off_listed_and_put_back() {
    let plane = Plane::start(None);
    let run = |line: &str| plane.run(&line.split(' ').collect::<Vec<_>>(), "");
    let off = run("switch off a:m --region eu --for 10m --reason leaked");
    let told = "a:m in eu is switched off until 2026-11-21T12:10:00Z: calls under way end, no new ones are made; \
                `meridian switch on a:m --region eu --reason ...` puts it back\n";
    assert_eq!((off.out.as_str(), off.err.as_str()), (told, ""));
    let off = run("switch off a --reason leaked");
    assert!(off.out.starts_with("a is switched off until it is switched on: "), "{}", off.out);
    let listed = run("switch list");
    assert!(listed.out.contains("a    all     2026-11-21T12:00:00Z  switched on"), "{}", listed.out);
    let on = run("switch on a/m --region eu --reason rotated").out;
    let remains = "still off until it is switched on: a; `meridian switch on a` puts it back\n";
    assert_eq!(on, format!("a:m in eu is on again\n{remains}"));
    assert_eq!(run("switch on a --reason rotated").out, "a is on again\n");
    assert_eq!(run("switch list").out, "nothing is switched off\n");
    let again = run("switch on a --reason rotated");
    assert_eq!((again.code, again.err.as_str()), (1, "error: it is not switched off\n"));
}

#[test]
fn the_audit_is_a_table_or_json() {
    let plane = Plane::start(None);
    let table = plane.run(&["history", "--audit", "--limit", "5", "--before", "01B"], "");
    assert_eq!(table.code, 0, "{}", table.err);
    assert!(table.out.starts_with("MADE "), "{}", table.out);
    assert!(table.out.contains("2026-11-21T12:00:00Z  alice   set_override  limit 5 before \"01B\""), "{}", table.out);
    let json = plane.run(&["history", "--audit", "-o", "json"], "");
    let found: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(found["records"][0]["author"], "alice");
    assert_eq!(plane.run(&["history", "-o", "json"], "").code, 2);
}

#[test]
fn a_file_becomes_a_commit_and_the_second_time_nothing() {
    let plane = Plane::start(None);
    let first = plane.run(&["apply", "-f", "-", "--reason", "begin"], REGION);
    assert_eq!((first.code, first.out.as_str()), (0, "Region/eu-west created\nhead is commit 1\n"), "{}", first.err);
    let second = plane.run(&["apply", "-f", "-"], REGION);
    assert_eq!((second.code, second.out.as_str()), (0, "1 unchanged\nhead is commit 1\n"));
    let history = plane.run(&["history"], "");
    assert!(history.out.contains("1       2026-11-21T12:00:00Z  anonymous  1          begin"), "{}", history.out);
}

#[test]
fn a_dry_run_and_a_diff_change_nothing() {
    let plane = Plane::start(None);
    let dry = plane.run(&["apply", "--dry-run", "-f", "-"], REGION);
    assert!(dry.out.starts_with("Region/eu-west would be created\ndry run"), "{}", dry.out);
    assert_eq!(plane.state.lock().unwrap().commits.len(), 0);
    plane.run(&["apply", "-f", "-"], REGION);
    assert_eq!(plane.run(&["diff", "-f", "-"], REGION).code, 0);
    let diff = plane.run(&["diff", "-f", "-"], &REGION.replace("EU", "IE"));
    assert_eq!(diff.code, 1);
    assert!(diff.out.contains("--- Region/eu-west\n") && diff.out.contains("-jurisdiction: EU\n+jurisdiction: IE\n"));
    assert_eq!(plane.state.lock().unwrap().commits.len(), 1);
}

#[test]
fn mistakes_are_printed_with_their_place_and_nothing_is_applied() {
    let plane = Plane::start(None);
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.yaml");
    std::fs::write(&model, "kind: Model\nname: m\ntiers:\n  - targets:\n      - provider: nobody\n").unwrap();
    let path = model.to_str().unwrap();
    // Found by the control plane, which knows what else there is.
    let refused = plane.run(&["apply", "-f", path], "");
    let expected = format!(
        "{path}:5:9: Model/m: tiers[0].targets[0].provider: there is no provider nobody; there are: none\n\
         error: 1 mistake; nothing was applied\n"
    );
    assert_eq!((refused.code, refused.err), (1, expected));
    // Found here: no control plane is needed.
    let refused = run(&["--admin", "127.0.0.1:1", "apply", "-f", "-"], "kind: Tenant\nname: t\nallowed_model: []\n");
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.starts_with("<stdin>:3:1: Tenant/t: allowed_model: unknown field; did you mean allowed_models?")
    );
    assert!(refused.err.ends_with("references were not checked, for the control plane could not be asked\n"));
    // Both kinds come together.
    let text = "kind: Model\nname: m\nfallback: []\nfallbacks: [m]\ntiers: [{targets: [{provider: nobody}]}]\n";
    let refused = plane.run(&["apply", "-f", "-"], text);
    let expected = "<stdin>:3:1: Model/m: fallback: unknown field; did you mean fallbacks? allowed: name, tiers, \
                    fallbacks, deadlines, choice, on_refusal, mid_stream, hedge\n\
                    <stdin>:4:13: Model/m: fallbacks[0]: a model cannot be its own fallback\n\
                    <stdin>:5:21: Model/m: tiers[0].targets[0].provider: there is no provider nobody; there are: none\n\
                    error: 3 mistakes; nothing was applied\n";
    assert_eq!((refused.code, refused.err.as_str()), (1, expected));
    assert_eq!(plane.state.lock().unwrap().commits.len(), 0);
}

#[test]
fn a_write_whose_answer_was_lost_is_repeated_and_done_once() {
    let plane = Plane::start(None);
    plane.state.lock().unwrap().lose_answers = 2;
    let applied = plane.run(&["apply", "-f", "-"], REGION);
    assert_eq!(
        (applied.code, applied.out.as_str()),
        (0, "Region/eu-west created\nhead is commit 1\n"),
        "{}",
        applied.err
    );
    assert_eq!(plane.state.lock().unwrap().commits.len(), 1);
}

#[test]
fn a_write_that_was_not_attempted_is_told_from_one_whose_outcome_is_unknown() {
    let plane = Plane::start(None);
    for (lost, expected) in [
        (0, "error: refused, nothing was changed: read-only: no quorum\n"),
        (1, "error: whether it was done is unknown; look before you repeat it: read-only: no quorum\n"),
    ] {
        let mut state = plane.state.lock().unwrap();
        (state.is_read_only, state.lose_answers) = (true, lost);
        drop(state);
        let refused = plane.run(&["apply", "-f", "-"], REGION);
        assert_eq!((refused.code, refused.err.as_str()), (1, expected), "{lost} lost");
    }
}

#[test]
fn a_write_that_was_decided_on_something_old_is_refused() {
    let plane = Plane::start(None);
    plane.run(&["apply", "-f", "-"], REGION);
    let refused = plane.run(&["apply", "-f", "-", "--expect-commit", "0"], &REGION.replace("EU", "IE"));
    assert_eq!(
        (refused.code, refused.err.as_str()),
        (1, "error: head is commit 1; nothing was changed: look again, then repeat\n")
    );
}

#[test]
fn what_get_prints_can_be_applied() {
    let plane = Plane::start(None);
    let examples = examples();
    // The examples' tenant is an account, which this plane does not keep apart: leave it out.
    let files: Vec<String> =
        ["regions", "providers", "models", "zone"].iter().map(|name| format!("{examples}/{name}.yaml")).collect();
    let mut arguments = vec!["apply"];
    arguments.extend(files.iter().flat_map(|file| ["-f", file.as_str()]));
    let applied = plane.run(&arguments, "");
    assert_eq!(applied.code, 0, "{}", applied.err);
    for format in ["yaml", "json"] {
        let shown = plane.run(&["get", "all", "-o", format], "");
        let text = if format == "json" { json_documents(&shown.out) } else { shown.out };
        let again = plane.run(&["diff", "-f", "-"], &text);
        assert_eq!((again.code, again.out.as_str()), (0, ""), "{}", again.err);
    }
    let table = plane.run(&["get", "models"], "").out;
    assert!(table.contains("gpt-4o-mini        sim-openai > sim-anthropic:claude-haiku-4-5"), "{table}");
    let one = plane.run(&["get", "all", "eu-west"], "");
    assert!(one.code == 0 && one.out.starts_with("REGION") && one.out.contains("eu-west"), "{}", one.err);
    for (kind, text) in [("model", "there is no Model/none"), ("all", "Region or Provider or Model or Zone or Tenant")]
    {
        let none = plane.run(&["get", kind, "none"], "");
        assert!(none.code == 1 && none.err.contains(text), "{}", none.err);
    }
}

fn json_documents(array: &str) -> String {
    let values: Vec<serde_json::Value> = serde_json::from_str(array).unwrap();
    values.iter().map(|value| format!("--- {value}\n")).collect()
}

#[test]
fn delete_and_rollback_make_commits() {
    let plane = Plane::start(None);
    plane.run(&["apply", "-f", "-"], REGION);
    assert_eq!(plane.run(&["delete", "region", "eu-west"], "").out, "Region/eu-west removed\nhead is commit 2\n");
    let missing = plane.run(&["delete", "region", "eu-west"], "");
    assert_eq!((missing.code, missing.err.as_str()), (1, "error: there is no Region/eu-west\n"));
    assert_eq!(plane.run(&["rollback", "1"], "").out, "head is commit 3, with the content of 1\n");
    assert!(plane.run(&["get", "regions"], "").out.contains("eu-west"));
    assert_eq!(plane.run(&["rollback", "9"], "").err, "error: there is no commit 9\n");
}

#[test]
fn a_key_is_made_here_shown_once_and_never_sent() {
    let plane = Plane::start(None);
    let made = plane.run(&["keys", "create", "--tenant", "demo", "--label", "ci"], "");
    let text = made.out.trim_end();
    assert!(text.starts_with("mrd_") && text.len() == 47, "{text}");
    let hash = KeyHash::of(text);
    assert_eq!(plane.state.lock().unwrap().keys[0].hash, hash.0.as_bytes().to_vec());
    let list = plane.run(&["keys", "list"], "").out;
    assert!(list.contains(&hash.id()) && list.contains("valid") && !list.contains(text), "{list}");
    let late = plane.run(&["keys", "revoke", &hash.id(), "--expect-revision", "4"], "");
    assert!(late.code == 1 && late.err.contains("decided on revision 4"), "{}", late.err);
    assert_eq!(plane.run(&["keys", "list"], "").err, "revision 5\n");
    let revoked = plane.run(&["keys", "revoke", &hash.id(), "--expect-revision", "5"], "");
    assert_eq!(revoked.out, format!("key {} of tenant demo is revoked\n", hash.id()));
    assert!(plane.run(&["keys", "list"], "").out.contains("REVOKED"));
}

#[test]
fn overrides_carry_what_they_were_decided_on_and_until_when() {
    let plane = Plane::start(None);
    let drained = plane.run(&["drain", "eu-west", "--reason", "kernel", "--until", "2030-01-01T00:00:00Z"], "");
    let expected = "eu-west is drained until 2030-01-01T00:00:00Z: its weight went from 500 to 0 of 1000 (now: us-west \
                    1000); clients that hold its address come until the TTL of their DNS answer has passed, and it goes \
                    on serving them\n";
    assert_eq!(drained.out, expected, "{}", drained.err);
    assert!(plane.state.lock().unwrap().looks > 2, "it waits for the plan");
    let undrained = plane.run(&["undrain", "eu-west"], "").out;
    assert!(undrained.starts_with("the drain of eu-west is over: the next plans raise its share"), "{undrained}");
    assert_eq!(plane.run(&["weight", "eu-west", "0", "--for", "2h"], "").code, 0);
    assert_eq!(plane.run(&["weight", "eu-west", "--clear"], "").code, 0);
    let unknown = plane.run(&["drain", "mars"], "");
    assert_eq!(
        (unknown.code, unknown.err.as_str()),
        (1, "error: there is no region mars; there are: eu-west, us-west\n")
    );
    let state = plane.state.lock().unwrap();
    let changes: Vec<_> = state.overrides.iter().map(|o| o.change.unwrap()).collect();
    let expected = [Change::Drained(true), Change::Drained(false), Change::Weight(0), Change::ClearWeight(true)];
    assert_eq!(changes, expected);
    assert!(state.overrides.iter().all(|o| o.expected_revision == 7 && o.request_id.len() == 36));
    assert!(state.overrides[2].until_unix_ms > 1_700_000_000_000);
}

#[test]
fn a_drain_that_is_waited_for_prints_its_evidence_and_tells_success_from_a_timeout() {
    let plane = Plane::start(None);
    let drained = plane.run(&["drain", "eu-west", "--wait", "--stretch", "0s", "-o", "json"], "");
    assert_eq!(drained.code, 0, "{}", drained.err);
    let lines: Vec<serde_json::Value> = drained.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<&str> = lines.iter().map(|line| line["step"].as_str().unwrap()).collect();
    let expected =
        ["set", "named", "named", "planned", "stopped", "stopped", "unnamed", "ttl_passed", "caches_passed", "drained"];
    assert_eq!(steps, expected);
    assert_eq!((&lines[4]["node"], &lines[4]["plan"]), (&"eu-west-1".into(), &"1.42".into()));

    // Waiting again sets nothing: the drain and its reason stay as they are.
    plane.state.lock().unwrap().is_busy = true;
    let late = plane.run(&["drain", "eu-west", "--wait", "--stretch", "0s", "--timeout", "1s"], "");
    assert_eq!(late.code, 3, "{}{}", late.out, late.err);
    assert_eq!(plane.state.lock().unwrap().overrides.len(), 1);
    let last = late.out.lines().last().unwrap();
    let expected = "the timeout of 1s came; left: open requests: eu-west-1 1. The drain of eu-west stays: ";
    assert!(last.contains(expected), "{last}");
}

#[test]
fn an_interrupted_wait_says_that_the_drain_stays() {
    let plane = Plane::start(None);
    plane.state.lock().unwrap().is_busy = true;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_meridian"))
        .args(["--admin", &plane.address, "drain", "eu-west", "--wait", "--stretch", "0s"])
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.contains("caches have let go of eu-west")));
    let interrupt = ["-INT", &child.id().to_string()];
    assert!(std::process::Command::new("kill").args(interrupt).status().unwrap().success());
    let last = lines.last().unwrap();
    assert!(last.contains("interrupted; left: open requests: eu-west-1 1. The drain of eu-west stays"), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(plane.state.lock().unwrap().overrides.len(), 1);
}

#[test]
fn fleet_and_explain_answer() {
    let plane = Plane::start(None);
    let json: serde_json::Value = serde_json::from_str(&plane.run(&["fleet", "-o", "json"], "").out).unwrap();
    assert_eq!(json["regions"][0]["region"], "eu-west");
    assert!(plane.run(&["fleet"], "").out.contains("eu-west  serving  500"));
    let explained = plane.run(&["explain", "dns", "api.meridian.test", "--from", "198.51.100.0/24"], "");
    assert_eq!(explained.out, "node eu-west-1 says:\napi.meridian.test for 198.51.100.0/24\n");
    let request = plane.run(&["explain", "request", "eu-west_eu-west-1_0123456789abcdef"], "");
    assert!(request.out.contains("failed with no_target after 120 ms"), "{}{}", request.out, request.err);
    let json = plane.run(&["explain", "request", "x", "-o", "json"], "");
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["records"][0]["request_id"], "x");
    let unknown = plane.run(&["explain", "request", "unknown"], "");
    assert_eq!((unknown.code, unknown.err.as_str()), (1, "error: no request unknown is remembered\n"));
}

#[test]
fn a_reader_that_goes_away_ends_a_watch_quietly() {
    let plane = Plane::start(None);
    let mut child = Command::new(env!("CARGO_BIN_EXE_meridian"))
        .args(["--admin", &plane.address, "fleet", "--watch"])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn wrong_usage_exits_with_2_and_a_hint() {
    let check = |arguments: &[&str], hint: &str| {
        let run = run(arguments, "");
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.err);
        assert!(run.err.contains(hint), "{arguments:?}: {}", run.err);
    };
    check(&["fleet"], "--admin HOST:PORT");
    check(&["get", "planets", "--admin", "127.0.0.1:1"], "allowed: region, provider, model, zone, tenant");
    check(&["get", "key"], "meridian keys list");
    check(&["apply"], "--file");
    check(&["weight", "eu-west", "--admin", "127.0.0.1:1"], "WEIGHT");
    check(&["history", "--admin", "127.0.0.1:1", "--admin-ca", "x"], "belong together");
    check(&["control"], "needs --data-dir");
    let absent = run(&["--admin", "127.0.0.1:1", "history"], "");
    assert_eq!(absent.code, 1);
    assert!(absent.err.starts_with("error: no control plane at 127.0.0.1:1; is it running?"), "{}", absent.err);
    assert_eq!(absent.err.lines().count(), 1);
}

#[test]
fn a_dev_instance_is_found_and_a_dead_one_is_recognised() {
    let plane = Plane::start(None);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("meridian/dev.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let describe = |pid: u32| {
        // As the first build wrote it.
        let instance = serde_json::json!({
            "admin": plane.address, "dns": "", "zone": "", "name": "", "key": "", "sim": "",
            "nodes": [], "pid": pid,
        });
        std::fs::write(&file, instance.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
        command.arg("fleet").env_clear().env("XDG_STATE_HOME", home.path()).output().unwrap()
    };
    assert_eq!(describe(std::process::id()).status.code(), Some(0));
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let stale = describe(gone.id());
    assert_eq!(stale.status.code(), Some(2));
    assert!(String::from_utf8(stale.stderr).unwrap().contains("is gone"));
}

#[test]
fn a_watch_survives_its_replica_and_goes_on_from_the_cursor() {
    let plane = Plane::start(None);
    // The first of the two addresses is dead.
    let admin = format!("127.0.0.1:1,{}", plane.address);
    let watched = run(&["--admin", &admin, "watch"], "");
    let subjects: Vec<_> = watched.out.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(subjects, ["event-1", "event-2", "event-3"], "{}", watched.err);
    assert!(watched.err.contains("going on from 2") && watched.err.contains("three is enough"), "{}", watched.err);
}

#[test]
fn rehearsals_and_explanations_ask_for_what_was_written() {
    let plane = Plane::start(None);
    let rehearsed = plane.run(&["plan", "--if", "region eu-west down", "--if", "region us-west weight 5"], "").out;
    assert!(rehearsed.contains("Down(true)") && rehearsed.contains("Weight(5)"), "{rehearsed}");
    assert_eq!(plane.run(&["plan", "--if", "region eu-west gone"], "").code, 2);
    for (kind, expected) in [("region", "Region"), ("node", "Node"), ("target", "Target"), ("weight", "Weight")] {
        let told = plane.run(&["explain", kind, "x"], "").out;
        assert_eq!(told, format!("replica cp-1 says:\n{expected}(\"x\")\n"));
    }
    let forced = plane.run(&["drain", "eu-west", "--force", "--no-wait"], "");
    assert_eq!(forced.out, "eu-west will be drained by the next plans; `fleet` shows when it is\n", "{}", forced.err);
    assert_eq!(plane.state.lock().unwrap().looks, 0, "it does not wait");
    assert!(plane.state.lock().unwrap().overrides[0].force);
}

#[test]
fn an_embedded_store_is_backed_up_and_restored_under_a_new_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (old, new, file) = (path("old"), path("new"), path("backup"));
    let empty = run(&["store", "backup", &file, "--data-dir", &old], "");
    assert!(empty.code == 1 && empty.err.contains("there is no store in"), "{}", empty.err);
    assert!(!Path::new(&old).exists(), "a slip of the pen made a store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = meridian_store::embedded::EmbeddedStore::open(Path::new(&old), 1).await.unwrap();
        let txn = meridian_store::Txn::new().put("/meridian/meridian/tenant/acme", "x");
        meridian_store::Store::txn(&store, txn).await.unwrap();
        store.close().await;
    });
    let taken = run(&["store", "backup", &file, "--data-dir", &old], "");
    assert!(taken.code == 0 && taken.out.starts_with("1 keys, "), "{}{}", taken.out, taken.err);
    let other = run(&["store", "backup", &file, "--data-dir", &old, "--cluster", "other"], "");
    assert!(other.code == 1 && other.err.contains("holds nothing of cluster other"), "{}", other.err);
    let restored = run(&["store", "restore", &file, "--data-dir", &new], "");
    assert!(restored.out.contains("restored, 0 removed; the store is at epoch 1"), "{}", restored.err);
    let refused = run(&["store", "restore", &file, "--data-dir", &new], "");
    assert!(refused.code == 1 && refused.err.contains("--replace"), "{}", refused.err);
    let again = run(&["store", "restore", &file, "--data-dir", &new, "--replace"], "");
    assert!(again.out.contains("the store is at epoch 2"), "{}", again.err);
    assert_eq!(run(&["store", "restore", &file], "").code, 2);
}
