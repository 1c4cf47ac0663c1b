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
    for script in [
        "debian/postinst",
        "debian/postrm",
        "package",
        "check-package",
    ] {
        let path = root.join("deploy").join(script);
        let checked = Command::new("bash").arg("-n").arg(&path).status().unwrap();
        assert!(checked.success(), "{script}");
    }
}

/// Builds a package out of what `cargo deb` would put there, after `change`; whether the check likes it, and what it says.
fn checked_package(change: impl Fn(&Path)) -> (bool, String) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let put = |path: &str, mode: u32, text: &str| {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    put("usr/bin/patchpost", 0o755, "x");
    for path in [
        "usr/lib/systemd/system/patchpost.service",
        "usr/share/man/man1/patchpost.1.gz",
        "usr/share/bash-completion/completions/patchpost",
        "usr/share/zsh/vendor-completions/_patchpost",
        "usr/share/fish/vendor_completions.d/patchpost.fish",
        "usr/share/doc/patchpost/examples/patchpost.toml",
        "usr/share/doc/patchpost/copyright",
    ] {
        put(path, 0o644, "x");
    }
    for script in ["postinst", "postrm"] {
        let text = deploy(&format!("debian/{script}")).replace("#DEBHELPER#", "");
        put(&format!("DEBIAN/{script}"), 0o755, &text);
    }
    let control = "Package: patchpost\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.invalid>\nDepends: adduser, git\nDescription: x\n";
    put("DEBIAN/control", 0o644, control);
    change(&root);
    let package = folder.path().join("x.deb");
    let built = Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Znone", "--build"])
        .args([&root, &package])
        .output();
    let built = built.expect("tests need dpkg-deb (Debian: the package dpkg)");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/check-package");
    let output = Command::new(check).arg(&package).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn the_check_of_a_package_names_what_is_wrong() {
    let (fine, said) = checked_package(|_| {});
    assert!(fine, "{said}");
    let wrong = |change: &dyn Fn(&Path), words: &str| {
        let (fine, said) = checked_package(change);
        assert!(!fine && said.contains(words), "{words}: {said}");
    };
    let remove = |path: &'static str| move |root: &Path| fs::remove_file(root.join(path)).unwrap();
    wrong(
        &remove("usr/lib/systemd/system/patchpost.service"),
        "patchpost\\.service",
    );
    wrong(
        &remove("usr/share/man/man1/patchpost.1.gz"),
        "no usr/share/man",
    );
    wrong(&remove("DEBIAN/postrm"), "no script postrm");
    let mode = |path: &'static str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        move |root: &Path| {
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap()
        }
    };
    wrong(
        &mode("usr/bin/patchpost", 0o644),
        "no usr/bin/patchpost with mode -rwxr-xr-x",
    );
    wrong(
        &mode("usr/share/doc/patchpost/copyright", 0o666),
        "others may write",
    );
    let write = |path: &'static str, text: &'static str| {
        move |root: &Path| {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        }
    };
    wrong(
        &write("etc/patchpost/patchpost.toml", "x"),
        "it brings files of the site",
    );
    wrong(
        &write("DEBIAN/conffiles", "/usr/share/doc/patchpost/copyright\n"),
        "it has conffiles",
    );
    wrong(
        &write("DEBIAN/postinst", "#!/bin/sh\nif\n"),
        "postinst does not parse",
    );
}
