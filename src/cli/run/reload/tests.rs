use super::*;

fn text(version: &str) -> String {
    format!(
        "apiVersion: reprieve/v1\nversion: \"{version}\"\nsettings: {{ triage: [lead@example.com] }}\nfallback: {{ reviewers: none }}\n"
    )
}

struct Case {
    reload: Reload,
    rules: watch::Receiver<Arc<RuleSet>>,
}

impl Case {
    fn new() -> Self {
        let (in_force, rules) = watch::channel(Arc::new(RuleSet::parse(&text("1")).unwrap()));
        let path = PathBuf::from("rules.yaml");
        let reload = Reload { path, in_force, metrics: Metrics::new(), last: None, bad: None };
        Self { reload, rules }
    }

    /// After the looks: which version is in force, and how many reloads have failed.
    async fn check(&mut self, looks: &[&Look], version: &str, failed: u64) {
        for look in looks {
            self.reload.found((*look).clone()).await;
        }
        let counted = self.reload.metrics.rules_reload_failed.get();
        assert_eq!((self.rules.borrow().version.as_str(), counted), (version, failed));
    }
}

#[tokio::test]
async fn what_two_looks_find_is_in_force() {
    let (one, two, three) = (Ok(text("1")), Ok(text("2")), Ok(text("3")));
    let mut case = Case::new();
    case.check(&[&one, &one, &two], "1", 0).await;
    case.check(&[&two], "2", 0).await;
    case.check(&[&three, &two, &three], "2", 0).await;
    case.check(&[&three], "3", 0).await;
    assert!(case.reload.metrics.text(crate::metrics::Sample::default()).contains("rules_info{version=\"3\""));
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_rules_and_counts_once_for_each_content() {
    let (one, bad, worse) = (Ok(text("1")), Ok("rules: 7".to_owned()), Ok(text("2").replace("none", "nobody")));
    let gone = Err("the rules file cannot be read".to_owned());
    let mut case = Case::new();
    case.check(&[&bad], "1", 0).await;
    case.check(&[&bad, &bad, &bad], "1", 1).await;
    case.check(&[&worse, &worse, &worse], "1", 2).await;
    case.check(&[&gone, &gone, &gone], "1", 3).await;
    case.check(&[&one, &one], "1", 3).await;
    case.check(&[&bad, &bad], "1", 4).await;
    case.check(&[&Ok(text("2")), &Ok(text("2"))], "2", 4).await;
}

#[tokio::test]
async fn whoever_asks_is_answered_at_once_and_each_time() {
    let bad = Ok("rules: 7".to_owned());
    let mut case = Case::new();
    case.reload.asked(Ok(text("2"))).await;
    case.check(&[], "2", 0).await;
    case.reload.asked(Ok(text("2"))).await;
    case.reload.asked(bad.clone()).await;
    case.check(&[&bad], "2", 1).await;
    case.reload.asked(bad.clone()).await;
    case.check(&[&bad], "2", 2).await;
}

#[test]
fn each_fault_is_a_line_with_its_place() {
    let text = text("1").replace("lead@example.com", "le ad").replace("none", "nobody");
    let lines = judge(Path::new("rules.yaml"), &text).unwrap_err();
    assert!(lines.len() == 2 && lines[0].starts_with("rules.yaml:3:22: "), "{lines:?}");
    assert!(lines[1].starts_with("rules.yaml:4:"), "{lines:?}");
}
