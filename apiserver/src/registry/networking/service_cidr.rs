//! ServiceCIDR. Source: `pkg/apis/networking/validation/validation.go`, `pkg/registry/networking/servicecidr/strategy.go`.

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{ServiceCIDR, ServiceCIDRSpec};
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, list},
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{canonical_cidr, immutable, json},
};

/// ServiceCIDR.
pub struct ServiceCIDRKind;

fn blocks(range: &ServiceCIDR) -> &[String] {
    range.spec.as_ref().map_or(&[], |spec| list(&spec.cidrs))
}

impl Kind for ServiceCIDRKind {
    type Object = ServiceCIDR;

    spec_and_status!(generation);

    fn validate(range: &ServiceCIDR, errors: &mut Errors) {
        let path = Path::new("spec").child("cidrs");
        let none = ServiceCIDRSpec::default();
        let shown = json(range.spec.as_ref().unwrap_or(&none));
        match blocks(range) {
            [] => return errors.required(&path, "at least one CIDR required"),
            [_] => {}
            [one, other] => {
                let is_v4 = |block: &str| block.parse::<IpNet>().ok().map(|block| block.addr().is_ipv4());
                if !matches!((is_v4(one), is_v4(other)), (Some(one), Some(other)) if one != other) {
                    let detail =
                        "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
                    return errors.invalid(&path, shown, detail);
                }
            }
            _ => return errors.invalid(&path, shown, "may only hold up to 2 values"),
        }
        for (i, block) in blocks(range).iter().enumerate() {
            canonical_cidr(block, &path.index(i), errors);
        }
    }

    fn validate_update(new: &ServiceCIDR, old: &ServiceCIDR, errors: &mut Errors) {
        immutable(&blocks(new), &blocks(old), &Path::new("spec").child("cidrs"), errors);
    }

    const COLUMNS: &'static [Column] = &[NAME, column("CIDRs", "string"), AGE];

    fn cells(range: &ServiceCIDR, now: Timestamp) -> Vec<Value> {
        cells![cells::name(&range.metadata), blocks(range).join(","), age(&range.metadata, now)]
    }
}
