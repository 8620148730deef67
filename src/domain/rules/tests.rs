use super::*;
#[test]
fn shared() {
    let text = std::fs::read_to_string(std::env::var("SHARED").unwrap()).unwrap();
    let checked = RuleSet::check(&text);
    for e in &checked.report.errors { println!("E {e}"); }
    for e in &checked.report.warnings { println!("W {e}"); }
    println!("{}", serde_json::to_string_pretty(&checked.rules.unwrap().test()).unwrap());
}
