//! What the README promises a newcomer, word for word.

use std::path::Path;
use std::process::Stdio;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// `./scripts/up` shows a request that two levels approved, one that was denied, one whose decision
/// came first, and one whose requester tried to approve it.
pub(crate) async fn the_second_command_shows_four_requests() {
    let mut command = tokio::process::Command::new("bash");
    command.args(["scripts/up", "--once"]).current_dir(ROOT).env("REPRIEVE_BIN", env!("CARGO_BIN_EXE_reprieve"));
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    for (id, state) in [
        ("EX-2026-0001", "approved, enforcement in_force"),
        ("EX-2026-0002", "denied"),
        ("EX-2026-0003", "approved, enforcement in_force"),
        ("EX-2026-0004", "requested"),
    ] {
        assert!(said.contains(&format!("{id}  {state}")), "{id} is not {state}: {said}");
    }
    assert!(said.contains("self_approval"), "{said}");
    assert!(said.contains("exceptions.out.tickets\t9"), "seven status changes and two deferrals: {said}");
}

/// Also when its output goes away half-way, as in `up | head`, and when two start on one folder.
pub(crate) async fn up_ends_all_it_started() {
    let folder = tempfolder("up-data");
    let script = format!(
        "set -o pipefail; bash scripts/up --once --data {0} 2>&1 | head -n 3; sleep 0.5; \
         bash scripts/up --once --data {0} >{0}/first.log 2>&1 & sleep 2; bash scripts/up --once --data {0} && exit 9; wait $!",
        folder.display()
    );
    let mut command = tokio::process::Command::new("bash");
    command.args(["-c", &script]).current_dir(ROOT).env("REPRIEVE_BIN", env!("CARGO_BIN_EXE_reprieve"));
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(complained.contains("is in use by another scripts/up"), "{complained}");
    assert!(output.status.success(), "the first is not disturbed: {complained}");
    let still = std::process::Command::new("pgrep").args(["-f", &folder.display().to_string()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&still.stdout), "", "nothing is left running");
    std::fs::remove_dir_all(folder).unwrap();
}

fn tempfolder(name: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = std::env::temp_dir().join(format!("reprieve-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

/// Every file and folder that the documents link to is there.
pub(crate) async fn links_lead_somewhere() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/integration.md",
        "docs/systems.md",
        "docs/operations.md",
        "docs/rules.md",
        "docs/bad-input.md",
        "docs/drill.md",
        "deploy/README.md",
        "benches/README.md",
    ] {
        let path = Path::new(ROOT).join(document);
        let text = std::fs::read_to_string(&path).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let there = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(there.exists(), "{document} links to {target}");
            let is_there = || std::fs::read_to_string(&there).unwrap().lines().any(|line| anchor(line) == heading);
            assert!(heading.is_empty() || is_there(), "{document} links to {target}: there is no such heading");
        }
    }
}

/// What a heading is linked to by.
fn anchor(line: &str) -> String {
    let Some(heading) = line.strip_prefix('#') else { return String::new() };
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// The fields and types of the integration guide's examples are accepted as they stand there.
pub(crate) async fn the_guides_examples_are_read() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("docs/integration.md")).unwrap();
    let mut found = 0;
    for example in text.split("```json\n").skip(1).filter_map(|rest| rest.split("\n```").next()) {
        let message = reprieve::contract::inbound::Message {
            content_type: Some("application/cloudevents+json"),
            content_encoding: None,
            headers: &std::collections::BTreeMap::new(),
            body: example.as_bytes(),
        };
        let inbound = reprieve::contract::inbound::decode(&message);
        assert!(inbound.content.is_ok(), "{example}: {:?}", inbound.content.err());
        found += 1;
    }
    assert_eq!(found, 2);
}

/// Every setting of the operations guide exists, and every setting that exists is in the guide.
pub(crate) async fn the_guide_lists_every_setting() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("docs/operations.md")).unwrap();
    for key in reprieve::config::keys::KEYS {
        assert!(text.contains(key.name) || key.name == "clock.offset", "docs/operations.md does not name {}", key.name);
    }
}
