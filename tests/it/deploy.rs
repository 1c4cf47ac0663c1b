//! What `deploy/` holds works with the program as it is.

use std::fs;
use std::path::Path;
use std::process::Command;

fn deploy(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    fs::read_to_string(path).unwrap()
}

#[test]
fn systemd_takes_the_unit_without_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("patchpost.service");
    // systemd looks whether the program is there: the one under test stands for the installed one.
    let text =
        deploy("patchpost.service").replace("/usr/bin/patchpost", env!("CARGO_BIN_EXE_patchpost"));
    fs::write(&unit, text).unwrap();
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&unit)
        .output();
    let output = output.expect("tests need systemd-analyze (Debian: the package systemd)");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("patchpost"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_example_configuration_is_taken_and_says_what_it_means() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("example.toml");
    fs::write(&file, deploy("patchpost.toml")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_patchpost"))
        .args(["config", "--config"])
        .arg(&file)
        .env_clear()
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in deploy("patchpost.toml")
        .lines()
        .filter(|line| line.contains(" = "))
    {
        assert!(
            shown.lines().any(|l| l == line),
            "{line} is missing in\n{shown}"
        );
    }
}

/// What the Debian package is made of is there; its scripts are scripts.
#[test]
fn the_package_names_files_that_exist_and_scripts_that_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let deb = manifest.split("[package.metadata.deb]").nth(1).unwrap();
    let deb = deb.split("\n[").next().unwrap();
    let mut seen = 0;
    for line in deb.lines().filter(|l| l.starts_with("    [\"")) {
        let source = line.split('"').nth(1).unwrap();
        // What is built is made by `deploy/package`.
        if !source.starts_with("target/") {
            let there = source.split('*').next().unwrap();
            assert!(root.join(there).exists(), "there is no {source}");
            seen += 1;
        }
    }
    assert!(seen >= 4, "{deb}");
    for script in ["debian/postinst", "debian/postrm", "package"] {
        let path = root.join("deploy").join(script);
        let checked = Command::new("bash").arg("-n").arg(&path).status().unwrap();
        assert!(checked.success(), "{script}");
    }
}
