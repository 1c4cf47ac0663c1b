use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends a byte over a new connection to `listener` and sees it arrive.
async fn check_reachable(listener: &Listener) {
    let address = listener.address();
    let client = async {
        match address.strip_prefix("unix:") {
            Some(path) => Stream::Unix(UnixStream::connect(path).await.expect("connects")),
            None => Stream::Tcp(TcpStream::connect(&address).await.expect("connects")),
        }
    };
    let (mut client, (mut server, peer)) = tokio::join!(client, listener.accept());
    assert_eq!(peer.is_none(), address.starts_with("unix:"), "{address}");
    client.write_all(b"x").await.expect("writes");
    assert_eq!(server.read_u8().await.expect("reads"), b'x');
}

fn socket(folder: &tempfile::TempDir) -> (PathBuf, String) {
    let path = folder.path().join("lmtp.sock");
    let address = format!("unix:{}", path.display());
    (path, address)
}

#[tokio::test]
async fn several_addresses_are_bound_and_named_as_they_can_be_reached() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, unix) = socket(&folder);
    let listeners = bind(["127.0.0.1:0", "localhost:0", &unix].into_iter())
        .await
        .expect("binds");
    assert_eq!(listeners.len(), 3);
    for listener in &listeners {
        assert!(!listener.address().ends_with(":0"));
        check_reachable(listener).await;
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let first = bind_one("127.0.0.1:0").await.expect("binds");
    let address = first.address();
    let error = bind(std::iter::once(address.as_str())).await.err();
    let error = error.expect("in use");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn a_socket_file_left_behind_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, address) = socket(&folder);
    // The standard library leaves the file, as a killed server does.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("binds"));
    assert!(path.exists());
    check_reachable(&bind_one(&address).await.expect("replaced")).await;
}

#[tokio::test]
async fn a_socket_in_use_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, address) = socket(&folder);
    let first = bind_one(&address).await.expect("binds");
    let error = bind_one(&address).await.err().expect("in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    // The look whether somebody listens is itself a connection.
    let (_looked, _) = first.accept().await;
    check_reachable(&first).await;
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, address) = socket(&folder);
    std::fs::write(&path, "precious").expect("writes");
    let error = bind_one(&address).await.err().expect("no socket");
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "precious");
}

#[tokio::test]
async fn a_listener_takes_its_file_with_it_and_nobody_elses() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, address) = socket(&folder);
    drop(bind_one(&address).await.expect("binds"));
    assert!(!path.exists());
    let first = bind_one(&address).await.expect("binds");
    std::fs::rename(&path, folder.path().join("moved")).expect("moves");
    let _second = bind_one(&address).await.expect("binds");
    drop(first);
    assert!(path.exists());
}
