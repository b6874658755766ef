//! `skupper token create`: a certificate with which another site may link to this one.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use model::name::HostPort;
use model::site::IngressKind;
use model::store::StoreError;
use pki::{Authority, KeyKind, LeafRequest, LinkToken, Token, TokenFormat};

use super::certificates::SITE_CA;
use super::change::Change;
use super::context::Context;
use super::error::SiteError;
use super::request::{TokenIssued, TokenRequest};
use super::state::SiteHandle;

/// Issues a token into a file (0600; it holds a private key). Changes nothing of the site.
///
/// # Errors
/// In the order of v1: no ingress, unknown host, unreadable authority, file.
pub async fn token_create(ctx: &Context, request: &TokenRequest) -> Result<TokenIssued, SiteError> {
    let change = Change::begin(ctx, "skupper token create").await?;
    let handle = change.handle();
    let site = handle.site();
    let host = choose_host(handle, request)?;
    let endpoint = |port| {
        HostPort::new(&host, port).map_err(|source| SiteError::state("ingress host", source))
    };
    let inter_router = endpoint(site.ingress.port)?;
    let edge = endpoint(site.ingress.edge_port)?;
    let issuer = handle.paths().issuer(SITE_CA);
    let subject = request.subject_name.clone();
    let hosts = vec![host.clone()];
    let certificate = tokio::task::spawn_blocking(move || {
        Authority::load(&issuer)?.issue(&LeafRequest::new(subject, hosts, KeyKind::Rsa2048))
    })
    .await
    .map_err(|source| SiteError::state("certificate of the token", source))?
    .map_err(|source| SiteError::state("certificate of the token", source))?;
    let token = LinkToken::issued(
        request.subject_name.as_str(),
        site.id.as_str(),
        inter_router.clone(),
        edge.clone(),
        &certificate,
    );
    let text = match request.format {
        TokenFormat::V1 => Token::write_v1_link(&token),
        TokenFormat::V2 => Token::write_v2_link(&token),
    };
    write_token(&request.file, text.as_bytes(), request.force)?;
    Ok(TokenIssued {
        file: request.file.clone(),
        inter_router,
        edge,
        site_id: site.id.clone(),
    })
}

fn choose_host(handle: &SiteHandle, request: &TokenRequest) -> Result<String, SiteError> {
    let ingress = &handle.site().ingress;
    if ingress.kind == IngressKind::None {
        return Err(SiteError::IngressNone);
    }
    let wanted = request
        .ingress_host
        .as_deref()
        .map(|host| host.trim_start_matches('[').trim_end_matches(']'))
        .filter(|host| !host.is_empty());
    let known = match wanted {
        None => ingress.hosts.first(),
        Some(wanted) => ingress.hosts.iter().find(|host| *host == wanted),
    };
    known.cloned().ok_or_else(|| SiteError::UnknownIngressHost {
        hosts: ingress.hosts.clone(),
    })
}

fn write_token(path: &Path, text: &[u8], force: bool) -> Result<(), SiteError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SiteError::Full {
            what: format!("token file {}", path.display()),
        },
        _ => SiteError::TokenFile {
            path: path.to_owned(),
            source,
        },
    };
    match fs::metadata(path) {
        // a pipe or a terminal: renaming a file over it would be wrong
        Ok(there) if !there.is_file() && !there.is_dir() => fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| file.write_all(text))
            .map_err(failed),
        Ok(there) if there.is_dir() => Err(failed(rustix::io::Errno::ISDIR.into())),
        Ok(_) if !force => Err(SiteError::TokenFileExists {
            path: path.to_owned(),
        }),
        _ => model::store::write_secret(path, text).map_err(|error| match error {
            StoreError::Io { source, .. } => failed(source),
            StoreError::Full { .. } => failed(io::ErrorKind::StorageFull.into()),
            other => SiteError::state(format!("token file {}", path.display()), other),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> (String, String) {
        let error = write_token(path, b"secret", true).unwrap_err();
        (error.to_string(), error.remedy().join(" "))
    }

    #[test]
    fn a_token_file_that_cannot_be_written_is_named_once_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing").join("x.yaml");
        let (text, remedy) = refusal(&missing);
        assert_eq!(
            text,
            format!(
                "cannot write token file {}: No such file or directory (os error 2)",
                missing.display()
            )
        );
        assert_eq!(remedy, "make its directory first, or name a file elsewhere");

        fs::write(directory.path().join("file"), "").unwrap();
        let (_, remedy) = refusal(&directory.path().join("file").join("x.yaml"));
        assert_eq!(remedy, "make its directory first, or name a file elsewhere");

        let (text, remedy) = refusal(directory.path());
        assert!(text.ends_with("Is a directory (os error 21)"), "{text}");
        assert!(remedy.ends_with("/token.yaml"), "{remedy}");
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }
}
