//! Metrics as Prometheus reads them: its text format, version 0.0.4.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use crate::api::{FamilyKind, Histogram, Metrics, Value};

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics as text.
pub fn exposition(metrics: &Metrics) -> String {
    let mut text = String::new();
    write(&mut text, metrics).expect("a text takes whatever is written to it");
    text
}

fn write(text: &mut String, metrics: &Metrics) -> fmt::Result {
    for family in &metrics.families {
        let kind = match family.kind {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Histogram => "histogram",
        };
        let name = &family.name;
        writeln!(text, "# HELP {name} {}", family.help.replace('\\', "\\\\").replace('\n', "\\n"))?;
        writeln!(text, "# TYPE {name} {kind}")?;
        for sample in &family.samples {
            match &sample.value {
                Value::Number(number) => line(text, name, &sample.labels, None, *number)?,
                Value::Histogram(found) => histogram(text, name, &sample.labels, found)?,
            }
        }
    }
    Ok(())
}

fn histogram(
    text: &mut String,
    name: &str,
    labels: &BTreeMap<String, String>,
    histogram: &Histogram,
) -> fmt::Result {
    let bucket = format!("{name}_bucket");
    for found in &histogram.buckets {
        line(text, &bucket, labels, Some(&found.le.to_string()), found.count as f64)?;
    }
    line(text, &bucket, labels, Some("+Inf"), histogram.count as f64)?;
    line(text, &format!("{name}_sum"), labels, None, histogram.sum)?;
    line(text, &format!("{name}_count"), labels, None, histogram.count as f64)
}

fn line(
    text: &mut String,
    name: &str,
    labels: &BTreeMap<String, String>,
    le: Option<&str>,
    value: f64,
) -> fmt::Result {
    text.push_str(name);
    let le = le.map(|le| ("le", le));
    let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(le);
    let mut before = '{';
    for (name, value) in labels {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(text, "{before}{name}=\"{value}\"")?;
        before = ',';
    }
    if before == ',' {
        text.push('}');
    }
    writeln!(text, " {value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Bucket, Family, Sample};

    fn family(name: &str, kind: FamilyKind, samples: Vec<Sample>) -> Family {
        Family { name: name.into(), kind, help: "a \\ b\nc".into(), samples }
    }

    fn sample(labels: &[(&str, &str)], value: Value) -> Sample {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Sample { labels, value }
    }

    #[test]
    fn prometheus_can_read_it() {
        let buckets = vec![Bucket { le: 0.000004, count: 1 }, Bucket { le: 1.5, count: 3 }];
        let histogram = Histogram { buckets, sum: 2.25, count: 4 };
        let metrics = Metrics {
            families: vec![
                family(
                    "a_total",
                    FamilyKind::Counter,
                    vec![sample(&[], Value::Number((1_u64 << 50) as f64))],
                ),
                family("none", FamilyKind::Gauge, Vec::new()),
                family(
                    "b_seconds",
                    FamilyKind::Histogram,
                    vec![sample(&[("v", "x\"\\\n"), ("k", "r")], Value::Histogram(histogram))],
                ),
            ],
        };
        let expected = "# HELP a_total a \\\\ b\\nc\n# TYPE a_total counter\na_total 1125899906842624\n\
                        # HELP none a \\\\ b\\nc\n# TYPE none gauge\n\
                        # HELP b_seconds a \\\\ b\\nc\n# TYPE b_seconds histogram\n\
                        b_seconds_bucket{k=\"r\",v=\"x\\\"\\\\\\n\",le=\"0.000004\"} 1\n\
                        b_seconds_bucket{k=\"r\",v=\"x\\\"\\\\\\n\",le=\"1.5\"} 3\n\
                        b_seconds_bucket{k=\"r\",v=\"x\\\"\\\\\\n\",le=\"+Inf\"} 4\n\
                        b_seconds_sum{k=\"r\",v=\"x\\\"\\\\\\n\"} 2.25\n\
                        b_seconds_count{k=\"r\",v=\"x\\\"\\\\\\n\"} 4\n";
        assert_eq!(exposition(&metrics), expected);
        let json = serde_json::to_string(&metrics).unwrap();
        assert!(json.contains(r#""samples":[{"labels":{},"value":1125899906842624.0}]"#), "{json}");
        assert_eq!(serde_json::from_str::<Metrics>(&json).unwrap(), metrics);
    }
}
