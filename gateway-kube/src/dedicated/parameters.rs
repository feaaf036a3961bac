//! Parameters of a Gateway's data plane: what a ConfigMap named by `parametersRef` may say.
//!
//! In: the ConfigMap of the GatewayClass and that of the Gateway, which wins key by key. Out:
//! [`Parameters`], or what is wrong. Not here: the image and the rights of pods, which are no
//! business of whoever may create Gateways.

use std::{collections::BTreeMap, ops::RangeInclusive};

use gateway_core::{api::ConfigMap, scope::ParametersCheck};
use serde_json::{Value, json};

/// How the data plane of a Gateway is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Pods, unless they are scaled.
    pub replicas: u32,
    /// What each pod is promised, by `cpu` and `memory`.
    pub requests: BTreeMap<&'static str, String>,
    /// What each pod may use at most.
    pub limits: BTreeMap<&'static str, String>,
    /// How the Service is reached.
    pub service_type: &'static str,
    /// Optional fields of the Service.
    pub service: BTreeMap<&'static str, Value>,
    /// A PodDisruptionBudget's bound, `minAvailable` or `maxUnavailable`.
    pub disruption: Option<(&'static str, Value)>,
    /// A HorizontalPodAutoscaler's bounds.
    pub scaling: Option<Scaling>,
    /// Labels of the nodes that pods may run on.
    pub node_selector: BTreeMap<String, String>,
    /// The priority of the pods.
    pub priority_class_name: Option<String>,
}

/// How the number of pods follows their load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// The fewest pods.
    pub min_replicas: u32,
    /// The most pods.
    pub max_replicas: u32,
    /// The load of the CPU to aim at, in percent of what is requested.
    pub cpu_percent: u32,
}

impl Parameters {
    /// How many pods there may be.
    pub(crate) fn most_pods(&self) -> u32 {
        self.scaling.as_ref().map_or(self.replicas, |scaling| scaling.max_replicas)
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            replicas: 1,
            requests: BTreeMap::from([("cpu", "100m".to_owned()), ("memory", "64Mi".to_owned())]),
            limits: BTreeMap::new(),
            service_type: "LoadBalancer",
            service: BTreeMap::new(),
            disruption: None,
            scaling: None,
            node_selector: BTreeMap::new(),
            priority_class_name: None,
        }
    }
}

/// Keys that say the same thing in different ways: who sets one of them drops the others.
const ALTERNATIVES: &[(&[&str], &[&str])] = &[
    (&["replicas"], &["minReplicas", "maxReplicas", "targetCpuPercent"]),
    (&["minAvailable"], &["maxUnavailable"]),
];

/// The keys that are about Services.
const SERVICE_KEYS: &[&str] =
    &["serviceType", "externalTrafficPolicy", "loadBalancerClass", "loadBalancerSourceRanges"];

/// The most pods of one Gateway.
const MOST_REPLICAS: u32 = 1000;

type Read = fn(&mut Draft, &str) -> Result<(), String>;

/// Every key, and how its value is read.
const KEYS: &[(&str, Read)] = &[
    ("replicas", |draft, text| number(text, 0..=MOST_REPLICAS).map(|n| draft.replicas = Some(n))),
    ("minReplicas", |draft, text| number(text, 1..=MOST_REPLICAS).map(|n| draft.min = Some(n))),
    ("maxReplicas", |draft, text| number(text, 1..=MOST_REPLICAS).map(|n| draft.max = Some(n))),
    ("targetCpuPercent", |draft, text| number(text, 1..=100).map(|n| draft.cpu = Some(n))),
    ("cpuRequest", |draft, text| resource(&mut draft.parameters.requests, "cpu", text)),
    ("memoryRequest", |draft, text| resource(&mut draft.parameters.requests, "memory", text)),
    ("cpuLimit", |draft, text| resource(&mut draft.parameters.limits, "cpu", text)),
    ("memoryLimit", |draft, text| resource(&mut draft.parameters.limits, "memory", text)),
    ("serviceType", |draft, text| {
        let types = &["LoadBalancer", "NodePort", "ClusterIP"];
        one_of(text, types).map(|kind| draft.parameters.service_type = kind)
    }),
    ("externalTrafficPolicy", |draft, text| {
        let policy = one_of(text, &["Cluster", "Local"])?;
        draft.parameters.service.insert("externalTrafficPolicy", policy.into());
        Ok(())
    }),
    ("loadBalancerClass", |draft, text| {
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err("expected a class such as example.net/internal".to_owned());
        }
        draft.parameters.service.insert("loadBalancerClass", text.into());
        Ok(())
    }),
    ("loadBalancerSourceRanges", |draft, text| {
        let ranges = text.split(',').map(|range| network(range.trim()));
        let ranges = ranges.collect::<Result<Vec<_>, _>>()?;
        draft.parameters.service.insert("loadBalancerSourceRanges", ranges.into());
        Ok(())
    }),
    ("minAvailable", |draft, text| amount(text).map(|n| draft.min_available = Some(n))),
    ("maxUnavailable", |draft, text| amount(text).map(|n| draft.max_unavailable = Some(n))),
    ("nodeSelector", |draft, text| {
        draft.parameters.node_selector = pairs(text)?;
        Ok(())
    }),
    ("priorityClassName", |draft, text| {
        if !gateway_core::api::is_dns_subdomain(text) {
            return Err("expected the name of a PriorityClass".to_owned());
        }
        draft.parameters.priority_class_name = Some(text.to_owned());
        Ok(())
    }),
];

/// What single keys said, before they are looked at together.
#[derive(Default)]
struct Draft {
    parameters: Parameters,
    replicas: Option<u32>,
    min: Option<u32>,
    max: Option<u32>,
    cpu: Option<u32>,
    min_available: Option<Value>,
    max_unavailable: Option<Value>,
}

impl Parameters {
    /// Reads the parameters of a class and of a Gateway; each may have none.
    ///
    /// # Errors
    /// A message that names the key and says what would be right.
    pub fn read(class: Option<&ConfigMap>, gateway: Option<&ConfigMap>) -> Result<Self, String> {
        Self::default().with(class, gateway)
    }

    /// These parameters but for what a class and a Gateway say.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub(crate) fn with(
        self,
        class: Option<&ConfigMap>,
        gateway: Option<&ConfigMap>,
    ) -> Result<Self, String> {
        let empty = BTreeMap::new();
        let own = gateway.map_or(&empty, |map| &map.data);
        let mut merged: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, value) in class.map_or(&empty, |map| &map.data) {
            if !is_overruled(key, own) {
                merged.insert(key, value);
            }
        }
        merged.extend(own.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        Draft { parameters: self, ..Draft::default() }.read(merged)?.finish()
    }
}

/// Whether an alternative to `key` is set.
fn is_overruled(key: &str, own: &BTreeMap<String, String>) -> bool {
    let sets = |keys: &[&str]| keys.iter().any(|key| own.contains_key(*key));
    ALTERNATIVES
        .iter()
        .any(|(one, other)| one.contains(&key) && sets(other) || other.contains(&key) && sets(one))
}

/// Judges parameters for the status of Gateways and classes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Check;

impl ParametersCheck for Check {
    fn check(&self, parameters: &ConfigMap) -> Result<(), String> {
        if let Some(key) = parameters.binary_data.keys().next() {
            return Err(format!("binaryData[{key:?}] is not looked at, use data"));
        }
        let data = parameters.data.iter();
        let data = data.map(|(key, value)| (key.as_str(), value.as_str()));
        // A class may leave it to its Gateways how far they scale.
        Draft::default().read(data)?.judge()
    }
}

/// Judges parameters where Gateways have a Service of their own, but no pods.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceCheck;

impl ParametersCheck for ServiceCheck {
    fn check(&self, parameters: &ConfigMap) -> Result<(), String> {
        Check.check(parameters)?;
        match parameters.data.keys().find(|key| !SERVICE_KEYS.contains(&key.as_str())) {
            Some(key) => Err(format!(
                "data[{key:?}] is for Gateways with pods of their own, here are known {}",
                SERVICE_KEYS.join(", ")
            )),
            None => Ok(()),
        }
    }
}

impl Draft {
    fn read<'a>(
        mut self,
        data: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        for (key, value) in data {
            let Some((_, read)) = KEYS.iter().find(|(known, _)| *known == key) else {
                let known: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
                return Err(format!("data[{key:?}] is unknown, known are {}", known.join(", ")));
            };
            read(&mut self, value.trim())
                .map_err(|expected| format!("data[{key:?}] is {value:?}, {expected}"))?;
        }
        Ok(self)
    }

    /// What keys say together.
    fn judge(&self) -> Result<(), String> {
        let scaled = self.min.is_some() || self.max.is_some() || self.cpu.is_some();
        if self.replicas.is_some() && scaled {
            return Err("give either replicas or minReplicas and maxReplicas".to_owned());
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            return Err(format!("minReplicas {min} is more than maxReplicas {max}"));
        }
        if self.min_available.is_some() && self.max_unavailable.is_some() {
            return Err("give either minAvailable or maxUnavailable".to_owned());
        }
        Ok(())
    }

    fn finish(self) -> Result<Parameters, String> {
        self.judge()?;
        let mut parameters = self.parameters;
        parameters.replicas = self.replicas.unwrap_or(parameters.replicas);
        parameters.scaling = match (self.min, self.max, self.cpu) {
            (None, None, None) => None,
            (_, None, _) => return Err("to scale, give maxReplicas".to_owned()),
            (min, Some(max), cpu) => Some(Scaling {
                min_replicas: min.unwrap_or(1),
                max_replicas: max,
                cpu_percent: cpu.unwrap_or(80),
            }),
        };
        let at_least = self.min_available.map(|amount| ("minAvailable", amount));
        let at_most = self.max_unavailable.map(|amount| ("maxUnavailable", amount));
        parameters.disruption = at_least.or(at_most);
        if parameters.service_type == "ClusterIP" {
            // Such Services have no outside for which these could be set.
            parameters.service.clear();
        }
        Ok(parameters)
    }
}

fn number(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("expected a number from {} to {}", range.start(), range.end()))
}

fn one_of(text: &str, known: &'static [&'static str]) -> Result<&'static str, String> {
    let found = known.iter().find(|known| **known == text);
    found.copied().ok_or_else(|| format!("expected one of {}", known.join(", ")))
}

fn resource(
    resources: &mut BTreeMap<&'static str, String>,
    name: &'static str,
    text: &str,
) -> Result<(), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let units = ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"];
    let positive = number.parse::<f64>().is_ok_and(|number| number > 0.0);
    if !positive || !units.contains(&unit) {
        return Err("expected a quantity such as 500m, 2 or 256Mi".to_owned());
    }
    resources.insert(name, text.to_owned());
    Ok(())
}

/// A number of pods, or a percentage of them.
fn amount(text: &str) -> Result<Value, String> {
    let percentage = text.strip_suffix('%').and_then(|number| number.parse::<u32>().ok());
    match (text.parse::<u32>(), percentage) {
        (Ok(number), _) if number <= MOST_REPLICAS => Ok(json!(number)),
        (_, Some(0..=100)) => Ok(json!(text)),
        _ => Err("expected a number or a percentage such as 50%".to_owned()),
    }
}

fn network(text: &str) -> Result<String, String> {
    let wrong =
        || format!("expected networks such as 10.0.0.0/8, separated by commas, not {text:?}");
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let address: std::net::IpAddr = address.parse().map_err(|_| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    number(length, 0..=longest).map_err(|_| wrong())?;
    Ok(text.to_owned())
}

fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let pair = |pair: &str| {
        let (key, value) = pair.trim().split_once('=')?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    let pairs = text.split(',').map(pair).collect::<Option<_>>();
    pairs.ok_or_else(|| "expected labels such as disk=ssd, separated by commas".to_owned())
}

#[cfg(test)]
mod tests {
    use gateway_core::{api::ConfigMap, scope::ParametersCheck};

    use super::{Check, KEYS, Parameters, SERVICE_KEYS, Scaling, ServiceCheck};

    fn map(data: &[(&str, &str)]) -> ConfigMap {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ConfigMap { data: data.collect(), ..ConfigMap::default() }
    }

    #[track_caller]
    fn wrong(data: &[(&str, &str)], expect: &str) {
        let error = Check.check(&map(data)).expect_err("the parameters are wrong");
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn wrong_values_are_told_with_what_would_be_right() {
        wrong(
            &[("replicas", "-1")],
            "data[\"replicas\"] is \"-1\", expected a number from 0 to 1000",
        );
        wrong(&[("replica", "1")], "data[\"replica\"] is unknown, known are replicas, minReplicas");
        wrong(
            &[("serviceType", "ExternalName")],
            "expected one of LoadBalancer, NodePort, ClusterIP",
        );
        wrong(&[("cpuRequest", "much")], "expected a quantity");
        wrong(&[("memoryLimit", "0")], "expected a quantity");
        wrong(&[("memoryLimit", "1Zi")], "expected a quantity");
        wrong(&[("minAvailable", "101%")], "expected a number or a percentage");
        wrong(&[("loadBalancerSourceRanges", "10.0.0.0/33")], "expected networks");
        wrong(&[("loadBalancerSourceRanges", "10.0.0.0/8, all")], "not \"all\"");
        wrong(&[("nodeSelector", "ssd")], "expected labels");
        wrong(&[("priorityClassName", "A B")], "PriorityClass");
        wrong(&[("loadBalancerClass", "")], "expected a class");
        wrong(&[("replicas", "2"), ("maxReplicas", "3")], "either replicas or");
        wrong(&[("minReplicas", "4"), ("maxReplicas", "3")], "minReplicas 4 is more than");
        wrong(&[("minAvailable", "1"), ("maxUnavailable", "1")], "either minAvailable or");
    }

    #[test]
    fn the_gateway_wins_key_by_key() {
        let class = map(&[("replicas", "3"), ("serviceType", "NodePort"), ("minAvailable", "2")]);
        let own = map(&[("maxReplicas", "9"), ("cpuRequest", "1"), ("maxUnavailable", "10%")]);
        let read = Parameters::read(Some(&class), Some(&own)).expect("all is well");
        assert_eq!(read.service_type, "NodePort");
        assert_eq!(
            read.scaling,
            Some(Scaling { min_replicas: 1, max_replicas: 9, cpu_percent: 80 })
        );
        assert_eq!(read.disruption, Some(("maxUnavailable", "10%".into())));
        assert_eq!((&*read.requests["cpu"], &*read.requests["memory"]), ("1", "64Mi"));
    }

    #[test]
    fn a_class_may_say_half_and_a_gateway_the_rest() {
        let class = map(&[("minReplicas", "3")]);
        assert_eq!(Check.check(&class), Ok(()));
        let read = |own: &[(&str, &str)]| Parameters::read(Some(&class), Some(&map(own)));
        assert!(read(&[("maxReplicas", "4")]).is_ok());
        assert_eq!(read(&[]), Err("to scale, give maxReplicas".to_owned()));
        assert_eq!(
            read(&[("maxReplicas", "2")]),
            Err("minReplicas 3 is more than maxReplicas 2".to_owned())
        );
    }

    #[test]
    fn without_pods_of_its_own_a_gateway_has_parameters_of_its_service() {
        for key in SERVICE_KEYS {
            assert!(KEYS.iter().any(|(known, _)| known == key), "{key}");
        }
        let own = map(&[("externalTrafficPolicy", "Local")]);
        assert_eq!(ServiceCheck.check(&own), Ok(()));
        let defaults = Parameters { service_type: "NodePort", ..Parameters::default() };
        let read = defaults.clone().with(None, Some(&own)).expect("all is well");
        assert_eq!((read.service_type, read.service.len()), ("NodePort", 1));
        let class = map(&[("serviceType", "LoadBalancer")]);
        let read = defaults.with(Some(&class), Some(&own)).expect("all is well");
        assert_eq!(read.service_type, "LoadBalancer");
        let error = ServiceCheck.check(&map(&[("replicas", "2")])).expect_err("it has no pods");
        assert!(
            error.contains("data[\"replicas\"] is for Gateways with pods of their own"),
            "{error}"
        );
        assert!(ServiceCheck.check(&map(&[("serviceType", "x")])).is_err());
    }

    #[test]
    fn every_key_is_documented() {
        let documented = include_str!("../../../deploy/README.md");
        for (key, _) in KEYS {
            assert!(documented.contains(&format!("| `{key}` |")), "deploy/README.md lacks {key}");
        }
    }
}
