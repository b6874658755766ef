//! `skupper link create` and `delete`.

use model::link::{Endpoints, Link, Origin};
use model::name::{LinkCost, LinkName};
use pki::LinkToken;
use pki::certificate;

use super::certificates::SITE_CA;
use super::change::Change;
use super::context::Context;
use super::error::SiteError;
use super::request::{LinkRequest, LinksCreated};
use super::router_config;
use super::state::SiteHandle;
use super::status;
use super::step::Plan;

const CREATE: &str = "skupper link create";
const DELETE: &str = "skupper link delete";

/// Oldest release whose tokens are accepted.
const OLDEST: [u64; 3] = [0, 8, 0];

/// Adds links to the site of the tokens. They are kept when that site can't be reached now; routers try again.
///
/// # Errors
/// What is wrong with the token, in the order of v1; [`SiteError::RouterIdInNetwork`]. Then nothing has changed.
pub async fn link_create(ctx: &Context, request: &LinkRequest) -> Result<LinksCreated, SiteError> {
    let change = Change::begin(ctx, CREATE).await?;
    let links = new_links(change.handle(), request)?;
    change
        .apply(plan_create(change.handle(), request, &links)?)
        .await?;
    if status::is_id_conflict(ctx, change.handle(), &links).await {
        let with_links = SiteHandle::required(ctx)?;
        for link in &links {
            change.apply(plan_delete(&with_links, &link.name)?).await?;
        }
        return Err(SiteError::RouterIdInNetwork {
            id: with_links.site().name.to_string(),
        });
    }
    Ok(LinksCreated { links })
}

/// What [`link_create`] would do.
///
/// # Errors
/// As [`link_create`].
pub fn plan_link_create(ctx: &Context, request: &LinkRequest) -> Result<Plan, SiteError> {
    let handle = SiteHandle::required(ctx)?;
    let links = new_links(&handle, request)?;
    plan_create(&handle, request, &links)
}

/// Removes a link.
///
/// # Errors
/// [`SiteError::NoSuchLink`].
pub async fn link_delete(ctx: &Context, name: &LinkName) -> Result<(), SiteError> {
    let change = Change::begin(ctx, DELETE).await?;
    let plan = plan_delete(change.handle(), name)?;
    change.apply(plan).await
}

/// What [`link_delete`] would do.
///
/// # Errors
/// As [`link_delete`].
pub fn plan_link_delete(ctx: &Context, name: &LinkName) -> Result<Plan, SiteError> {
    plan_delete(&SiteHandle::required(ctx)?, name)
}

fn plan_create(
    handle: &SiteHandle,
    request: &LinkRequest,
    links: &[Link],
) -> Result<Plan, SiteError> {
    let paths = handle.paths();
    let mut plan = Plan::new(CREATE);
    for (link, token) in links.iter().zip(&request.tokens) {
        let directory = paths.cert(&link.tls_credentials);
        plan.make_directory(&directory);
        for (file, content, what) in [
            ("ca.crt", token.ca_pem.as_bytes(), "authority"),
            ("tls.crt", token.cert_pem.as_bytes(), "certificate"),
            ("tls.key", token.key.expose().as_bytes(), "key"),
        ] {
            plan.write(
                directory.join(file),
                content,
                format!("the {what} of link {}", link.name),
            );
        }
        let text = model::yaml::to_string(link)
            .map_err(|source| SiteError::state(format!("link {}", link.name), source))?;
        plan.write(
            paths.link_file(&link.name),
            text,
            format!("link {}", link.name),
        );
    }
    let mut all = handle.links().to_vec();
    all.extend(links.iter().cloned());
    router_config::plan_site_router(&mut plan, handle, &handle.with_links(all));
    Ok(plan)
}

fn plan_delete(handle: &SiteHandle, name: &LinkName) -> Result<Plan, SiteError> {
    let link = handle
        .link(name)
        .ok_or_else(|| SiteError::NoSuchLink { name: name.clone() })?;
    let mut plan = Plan::new(DELETE);
    let rest: Vec<Link> = handle
        .links()
        .iter()
        .filter(|other| other.name != *name)
        .cloned()
        .collect();
    let shared = rest
        .iter()
        .any(|other| other.tls_credentials == link.tls_credentials);
    // the router lets go of the credentials before they disappear
    router_config::plan_site_router(&mut plan, handle, &handle.with_links(rest));
    plan.remove(handle.paths().link_file(name), format!("link {name}"));
    if !shared {
        plan.remove(
            handle.paths().cert(&link.tls_credentials),
            format!("the credentials of link {name}"),
        );
    }
    Ok(plan)
}

/// One link per token: `link1`, or the next free number, or the name asked for (`name`, `name-2` …).
fn new_links(handle: &SiteHandle, request: &LinkRequest) -> Result<Vec<Link>, SiteError> {
    let mut number = next_number(handle.links());
    let mut links = Vec::new();
    for (index, token) in request.tokens.iter().enumerate() {
        let text = match (&request.name, index) {
            (Some(name), 0) => name.to_string(),
            (Some(name), more) => format!("{name}-{}", more + 1),
            (None, _) => {
                number += 1;
                format!("link{}", number - 1)
            }
        };
        let name =
            LinkName::parse(&text).map_err(|source| SiteError::state("link name", source))?;
        if handle.link(&name).is_some() {
            return Err(SiteError::LinkExists { name });
        }
        links.push(new_link(handle, token, name, request.cost)?);
    }
    if links.is_empty() {
        return Err(SiteError::Invalid("the token holds no link".to_owned()));
    }
    Ok(links)
}

fn new_link(
    handle: &SiteHandle,
    token: &LinkToken,
    name: LinkName,
    cost: Option<LinkCost>,
) -> Result<Link, SiteError> {
    let fingerprint = token
        .ca_fingerprint()
        .map_err(|source| SiteError::state("authority of the token", source))?;
    let endpoints = Endpoints {
        inter_router: token.inter_router.clone(),
        edge: token.edge.clone(),
    };
    if endpoints.inter_router.is_none() {
        return Err(SiteError::NoEndpoint);
    }
    let origin = Origin {
        site_id: token.origin.site_id.clone(),
        version: token.origin.version.clone(),
        ca_fingerprint: fingerprint,
    };
    if is_own(handle, &origin) {
        return Err(SiteError::LinkToSelf);
    }
    if let Some(same) = handle
        .links()
        .iter()
        .find(|link| goes_to(link, &origin, &endpoints))
    {
        return Err(SiteError::AlreadyLinked {
            site: origin.site_id.unwrap_or_else(|| same.name.to_string()),
            link: same.name.clone(),
        });
    }
    check_version(&origin)?;
    let cost = match (cost, token.cost) {
        (Some(cost), _) => cost,
        (None, Some(cost)) => LinkCost::new(cost).unwrap_or_default(),
        (None, None) => LinkCost::default(),
    };
    let mut link = Link::new(name, cost, endpoints);
    link.origin = Some(origin);
    Ok(link)
}

/// Tokens of v2 name no site; there the authority tells.
fn is_own(handle: &SiteHandle, origin: &Origin) -> bool {
    if let Some(id) = &origin.site_id {
        return id == handle.site().id.as_str();
    }
    std::fs::read_to_string(handle.paths().issuer(SITE_CA).join("tls.crt"))
        .ok()
        .and_then(|pem| certificate::inspect(&pem).ok())
        .is_some_and(|own| own.fingerprint_sha256_hex == origin.ca_fingerprint)
}

fn goes_to(link: &Link, origin: &Origin, endpoints: &Endpoints) -> bool {
    link.origin
        .as_ref()
        .is_some_and(|known| match (&known.site_id, &origin.site_id) {
            (Some(known), Some(new)) => known == new,
            // several routers of one v2 site share an authority
            _ => known.ca_fingerprint == origin.ca_fingerprint && link.endpoints == *endpoints,
        })
}

/// v1 asks for the version; tokens of v2 have none.
fn check_version(origin: &Origin) -> Result<(), SiteError> {
    if origin.site_id.is_none() {
        return Ok(());
    }
    let version = origin.version.as_deref().filter(|text| !text.is_empty());
    let old = match version {
        None => true,
        // a version that is no number (a build of the main branch) is taken as new
        Some(text) => numbers(text).is_some_and(|numbers| numbers < OLDEST),
    };
    if old {
        return Err(SiteError::Invalid(format!(
            "minimum version required 0.8.0 - remote site version is {}",
            version.unwrap_or("undefined")
        )));
    }
    Ok(())
}

fn numbers(version: &str) -> Option<[u64; 3]> {
    let mut words = version
        .trim_start_matches('v')
        .split(['.', '-', '+'])
        .map(|word| word.parse().ok());
    Some([
        words.next()??,
        words.next().flatten().unwrap_or(0),
        words.next().flatten().unwrap_or(0),
    ])
}

/// One more than the largest number after `link` anywhere in a link's name, as v1.
fn next_number(links: &[Link]) -> u64 {
    let largest = links
        .iter()
        .flat_map(|link| {
            let name = link.name.as_str();
            name.match_indices("link")
                .map(|(at, word)| {
                    let digits: String = name[at + word.len()..]
                        .chars()
                        .take_while(char::is_ascii_digit)
                        .collect();
                    digits.parse::<u64>().unwrap_or(0)
                })
                .collect::<Vec<_>>()
        })
        .max();
    largest.unwrap_or(0).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> Link {
        let name = LinkName::parse(name).expect("a name");
        Link::new(name, LinkCost::default(), Endpoints::default())
    }

    #[test]
    fn numbers_go_on_after_the_largest() {
        assert_eq!(next_number(&[]), 1);
        assert_eq!(next_number(&[link("west")]), 1);
        assert_eq!(
            next_number(&[link("link1"), link("my-link7-x"), link("link3")]),
            8
        );
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let check = |id: Option<&str>, version: Option<&str>| {
            check_version(&Origin {
                site_id: id.map(str::to_owned),
                version: version.map(str::to_owned),
                ca_fingerprint: String::new(),
            })
        };
        for good in ["0.8.0", "0.10.1", "1.4.3", "v2.0.0-rc1", "main-abc"] {
            assert!(check(Some("x"), Some(good)).is_ok(), "{good}");
        }
        assert!(check(None, None).is_ok());
        let error = check(Some("x"), Some("0.7.9")).expect_err("too old");
        assert!(error.to_string().ends_with("remote site version is 0.7.9"));
        let error = check(Some("x"), None).expect_err("no version");
        assert!(error.to_string().ends_with("undefined"));
    }
}
