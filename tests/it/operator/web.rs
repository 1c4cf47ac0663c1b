//! A real nginx before the pages, set up by `patchpost print nginx`.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{TestServer, free_port, git, project, request};
use crate::tools;

struct Nginx {
    child: Child,
    plain: String,
    tls: String,
}

impl Nginx {
    /// Runs the printed site, but on free ports and with a certificate of its own.
    fn start(folder: &Path, printed: &str) -> Nginx {
        let made = rcgen::generate_simple_self_signed(["lists.example.org".to_owned()]).unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let cert = file("cert.pem", &made.cert.pem());
        let key = file("key.pem", &made.signing_key.serialize_pem());
        let [plain, tls] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
        let usual = "/etc/letsencrypt/live/lists.example.org";
        let mut site = printed.to_owned();
        for (from, to) in [
            ("    listen [::]:80;\n", String::new()),
            ("    listen [::]:443 ssl;\n", String::new()),
            ("listen 80;", format!("listen {plain};")),
            ("listen 443 ssl;", format!("listen {tls} ssl;")),
            (&format!("{usual}/fullchain.pem"), cert),
            (&format!("{usual}/privkey.pem"), key),
        ] {
            assert_eq!(site.matches(from).count(), 1, "{from} in {site}");
            site = site.replace(from, &to);
        }
        let site = file("site", &site);
        let home = folder.display();
        let main = file(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;\n\
                 events {{}}\nhttp {{ access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;\n\
                 fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\ninclude {site}; }}\n"
            ),
        );
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx.args(["-c", &main, "-e", &format!("{home}/error.log")]);
        let tested = tools::output(nginx.arg("-t"));
        let said = String::from_utf8_lossy(&tested.stderr).into_owned();
        assert!(
            tested.status.success() && !said.contains("[warn]"),
            "{said}"
        );
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx.args(["-c", &main, "-e", &format!("{home}/error.log")]);
        let child = nginx.stdout(Stdio::null()).spawn().unwrap();
        Nginx { child, plain, tls }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn the_printed_nginx_passes_pages_and_clones_on() {
    let server = TestServer::start_with(&[
        ("PATCHPOST_SITE_HOSTNAME", "lists.example.org"),
        ("PATCHPOST_HTTP_BASE_URL", "https://lists.example.org"),
    ]);
    let work = project(server.dir.path());
    server.cli(&[
        "repo",
        "add",
        "tool",
        "--path",
        work.to_str().unwrap(),
        "--branch",
        "main",
    ]);
    server.cli(&["list", "create", "dev", "--repo", "tool"]);
    let mut print = server.command();
    print.env("PATCHPOST_HTTP_LISTEN", &server.addresses["http"]);
    let printed = tools::run(print.args(["print", "nginx"]));
    let folder = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(folder.path(), &printed);
    server.wait_for("nginx to listen", || {
        std::net::TcpStream::connect(&nginx.tls).ok()
    });

    let redirect = request(
        &nginx.plain,
        "GET /dev/ HTTP/1.1\r\nHost: lists.example.org\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(redirect.status, 301);
    assert_eq!(
        redirect.header("Location").as_deref(),
        Some("https://lists.example.org/dev/")
    );
    let url = format!("https://{}", nginx.tls);
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--insecure",
        "--include",
        "-H",
        "Host: lists.example.org",
    ]);
    let page = tools::run(curl.arg(format!("{url}/dev/")));
    let direct = server.get("/dev/");
    assert!(page.ends_with(&direct.text()), "{page}");
    let tag = direct.header("Etag").expect("a page has a tag");
    assert!(
        page.to_lowercase()
            .contains(&format!("etag: {}", tag.to_lowercase())),
        "{page}"
    );
    let copy = server.dir.path().join("copy");
    let name = copy.to_str().unwrap();
    let clone = [
        "-c",
        "http.sslVerify=false",
        "clone",
        "-q",
        &format!("{url}/tool.git"),
        name,
    ];
    git(server.dir.path(), &clone);
    assert_eq!(
        git(&copy, &["rev-parse", "HEAD"]),
        git(&work, &["rev-parse", "main"])
    );
}

#[test]
fn the_printed_caddy_site_names_host_and_listener() {
    let server =
        TestServer::start_with(&[("PATCHPOST_HTTP_BASE_URL", "https://lists.example.org")]);
    let mut print = server.command();
    print.env("PATCHPOST_HTTP_LISTEN", "127.0.0.1:8088");
    let printed = tools::run(print.args(["print", "caddy"]));
    assert!(printed.contains("\nlists.example.org {\n"), "{printed}");
    assert!(
        printed.contains("reverse_proxy 127.0.0.1:8088 {"),
        "{printed}"
    );
    let sub = [("PATCHPOST_HTTP_BASE_URL", "https://lists.example.org/lists")];
    let mut print = server.command();
    let out = print.envs(sub).args(["print", "nginx"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        !out.status.success() && said.contains("at the root of a host"),
        "{said}"
    );
}
