//! The program as operators use it: exit statuses, standard output and error, and their formats.

use std::{
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use crate::world::{Signal, World, eventually};

/// Returns the configuration of a gate that cannot start: the listener occupies its port.
fn taken(log_format: &str) -> (TempDir, TcpListener) {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        r#"
server = {{ listen = "{}", management = "127.0.0.1:0" }}
session = {{ secrets = ["the first secret of one test, which is long enough"] }}
store = {{ url = "memory:" }}
providers = [{{ name = "p", issuer = "https://127.0.0.1/", client_id = "doorward" }}]
apps = [{{ name = "app", hosts = ["app.example.test"] }}]
log = {{ format = "{log_format}", level = "trace" }}
"#,
        listener.local_addr().unwrap()
    );
    std::fs::write(dir.path().join("doorward.toml"), text).unwrap();
    (dir, listener)
}

fn doorward(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    command.env_clear().current_dir(dir).args(arguments);
    command
}

fn stderr_and_stdout(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "a log goes to standard error");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_exit_status_distinguishes_failure_from_wrong_usage() {
    let (dir, _listener) = taken("json");
    let empty = tempfile::tempdir().unwrap();
    for (at, arguments, status) in [
        (dir.path(), ["check"].as_slice(), 0),
        (dir.path(), &["check", "--format", "json"], 0),
        (dir.path(), &["secret"], 0),
        (dir.path(), &["completions", "bash"], 0),
        (dir.path(), &["--version"], 0),
        (dir.path(), &["serve"], 1),
        (dir.path(), &["check", "--config", "not-there.toml"], 1),
        (empty.path(), &["check"], 1),
        (empty.path(), &[], 1),
        (empty.path(), &["chekc"], 2),
        (empty.path(), &["secret", "more"], 2),
        (empty.path(), &["completions"], 2),
    ] {
        let ended = doorward(at, arguments).output().unwrap();
        assert_eq!(ended.status.code(), Some(status), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_check_during_a_rotation_with_an_unavailable_store_says_so_and_does_not_fail() {
    let dir = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for store in ["sqlite:not-there.db", &format!("postgres://doorward@{closed}/doorward")] {
        let text = format!(
            r#"
server = {{ listen = "127.0.0.1:0" }}
session = {{ secrets = ["the second secret of one test, which is long enough", "the first secret of one test, long enough too"] }}
store = {{ url = "{store}" }}
providers = [{{ name = "p", issuer = "https://127.0.0.1/", client_id = "doorward" }}]
apps = [{{ name = "app", hosts = ["app.example.test"] }}]
"#
        );
        std::fs::write(dir.path().join("doorward.toml"), text).unwrap();
        let checked = doorward(dir.path(), &["check", "--format", "json"]).output().unwrap();
        let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
        assert!(checked.status.success() && report["ok"] == true, "{report}");
        assert!(report["rotation"]["unavailable"].as_str().unwrap().contains("store.url"), "{report}");
        let checked = doorward(dir.path(), &["check"]).output().unwrap();
        assert!(String::from_utf8(checked.stdout).unwrap().contains("is not known: store.url"));
        assert!(!dir.path().join("not-there.db").exists(), "asking makes no store");
    }
}

/// Writes a configuration that is valid and most likely a mistake.
fn of_google(dir: &Path, listen: &str) {
    let text = format!(
        r#"
server = {{ listen = "{listen}", management = "127.0.0.1:0" }}
session = {{ secrets = ["zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"] }}
store = {{ url = "memory:" }}
providers = [{{ name = "google", issuer = "https://accounts.google.com", client_id = "doorward" }}]
apps = [{{ name = "app", hosts = ["app.example.com"] }}]
"#
    );
    std::fs::write(dir.join("doorward.toml"), text).unwrap();
}

#[test]
fn what_check_warns_of_is_logged_once_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    of_google(dir.path(), &listener.local_addr().unwrap().to_string());
    let checked = doorward(dir.path(), &["check"]).output().unwrap();
    let report = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success(), "{report}");
    assert!(report.contains("    https://app.example.com/_doorward/callback\n"), "{report}");
    let checked = doorward(dir.path(), &["check", "--format", "json"]).output().unwrap();
    let json: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(checked.status.success() && json["ok"] == true, "{json}");
    assert_eq!(json["register"][0]["redirect_uris"][0], "https://app.example.com/_doorward/callback");
    let log = stderr_and_stdout(&doorward(dir.path(), &["serve"]).output().unwrap());
    let logged: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let warnings = json["warnings"].as_array().unwrap();
    for (warning, (key, problem)) in warnings
        .iter()
        .zip([("session.secrets[0]", "is easy to guess"), ("apps[0]", "anybody with a Google account is let in here")])
    {
        assert_eq!(warning["key"], key);
        assert!(warning["problem"].as_str().unwrap().contains(problem), "{warning}");
        assert!(report.contains(&format!("warning: {key}: {problem}")), "{report}");
        let lines = logged.iter().filter(|line| line["key"] == key && line["problem"] == warning["problem"]);
        assert_eq!(lines.map(|line| line["level"].as_str()).collect::<Vec<_>>(), [Some("WARN")], "{log}");
    }
    assert_eq!(warnings.len(), 2, "{json}");
    assert!(!log.contains("zzz") && !report.contains("zzz"));
}

#[test]
fn the_variables_of_a_kubernetes_service_are_no_mistakes() {
    let (dir, _listener) = taken("json");
    for (name, value, status) in [
        ("DOORWARD_SERVICE_PORT_MANAGEMENT", "9300", 0),
        ("DOORWARD_SERVICE_PORT_LISTEN", "9000", 0),
        ("DOORWARD_METRICS_PORT_9300_TCP_ADDR", "10.0.0.1", 0),
        ("DOORWARD_LISTEN", "9000", 1),
        ("DOORWARD_SERVER__MANAGEMNT", "127.0.0.1:9300", 1),
    ] {
        let ended = doorward(dir.path(), &["check"]).env(name, value).output().unwrap();
        assert_eq!(ended.status.code(), Some(status), "{name}: {ended:?}");
    }
}

#[tokio::test]
async fn the_redirect_uris_that_check_prints_are_those_that_the_provider_gets() {
    let world = World::new().await;
    let report: Value = serde_json::from_str(&world.gate.command(&["check", "--format", "json"])).unwrap();
    let printed = report["register"][0]["redirect_uris"].as_array().unwrap();
    let asked = world.visitor().open(&world.at("app", "/")).await.location().unwrap();
    let asked = Url::parse(&asked).unwrap();
    let (_, redirect) = asked.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap();
    let mut redirect = Url::parse(&redirect).unwrap();
    // The edge of a test has a port of its own.
    redirect.set_port(None).unwrap();
    assert!(printed.iter().any(|uri| uri == redirect.as_str()), "{redirect} is not among {printed:?}");
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let (dir, _listener) = taken("json");
    for arguments in [["check"].as_slice(), &["secret"], &["completions", "zsh"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let status = doorward(dir.path(), arguments).stdout(full).status().unwrap();
        assert_eq!(status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn the_reason_for_stopping_is_a_line_of_the_log() {
    let (dir, _listener) = taken("json");
    let log = stderr_and_stdout(&doorward(dir.path(), &["serve"]).output().unwrap());
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR", "{log}");
    assert!(last["error"].as_str().unwrap().contains("server.listen"), "{log}");
}

#[test]
fn a_log_outside_a_terminal_has_no_colours() {
    let (dir, _listener) = taken("text");
    let log = stderr_and_stdout(&doorward(dir.path(), &["serve"]).output().unwrap());
    assert!(log.contains("ERROR stopped") && !log.contains('\u{1b}'), "{log}");
}

#[test]
fn serve_and_check_report_the_same_configuration_errors() {
    let (dir, _listener) = taken("loud");
    let served = doorward(dir.path(), &["serve"]).output().unwrap();
    let checked = doorward(dir.path(), &["check"]).output().unwrap();
    assert!(served.stderr.starts_with(b"doorward.toml:7: log.format: "), "{served:?}");
    assert_eq!(served.stderr, checked.stdout);
}

#[tokio::test]
async fn at_trace_no_library_logs_its_input() {
    let mut world = World::new().await;
    world.gate.configure(&format!("{}\n[log]\nlevel = \"trace\"\n", world.config()));
    world.gate.restart(Signal::Term).await;
    world.signed_in("alice").await;
    for line in world.gate.log().lines() {
        assert!(!line.contains("log.target") && !line.contains("Headers") && !line.contains("cookie"), "{line}");
    }
}

#[tokio::test]
async fn sighup_reloads_the_configuration_and_ends_nothing() {
    let mut world = World::new().await;
    let alice = world.signed_in("alice").await;
    world.gate.signal(Signal::HangUp);
    eventually("it is read again", async || {
        let unchanged = world.gate.metric(r#"doorward_config_reloads_total{result="unchanged"}"#).await;
        (unchanged == Some(1) && world.gate.log().contains("nothing has changed")).then_some(())
    })
    .await;
    alice.visit(&world.at("app", "/")).await.echo();
}
