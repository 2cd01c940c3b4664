// Pins the Helm that the chart's tests run; build.ts builds it. Not part of what Portcullis ships.
module portcullis.dev/test/cluster/real-nodes/helm

go 1.26.0
