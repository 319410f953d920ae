# What `make publish` adds to docker-compose.yml's builds: names in a registry, labels, cache, SBOM and provenance.
#   docker buildx bake --file docker-compose.yml --file docker-bake.hcl --print
# shows it all. The variables are make's.
variable "REGISTRY" {
  default = "labelloop"
}
variable "FLAVOUR" {
  default = "cpu"
}
variable "COMPOSE_ACCELERATOR" {
  default = "cpu"
}
variable "REVISION" {
  default = ""
}
variable "LABELSTUDIO_VERSION" {
  default = "latest"
}
variable "TRAINER_VERSION" {
  default = "latest"
}
variable "MLBACKEND_VERSION" {
  default = "latest"
}
# Builders other than Docker's own attest what they build, and take a base image from a target instead of the engine.
variable "CONTAINED" {
  default = ""
}

group "default" {
  targets = ["labelstudio", "trainer", "mlbackend"]
}

target "published" {
  labels = {
    "org.opencontainers.image.title"    = "labelloop"
    "org.opencontainers.image.revision" = REVISION
  }
  cache-to = ["type=inline"]
  attest   = CONTAINED != "" ? ["type=provenance,mode=max", "type=sbom"] : []
}

target "labelstudio" {
  inherits   = ["published"]
  tags       = ["${REGISTRY}/labelstudio:${LABELSTUDIO_VERSION}", "${REGISTRY}/labelstudio:latest"]
  cache-from = ["type=registry,ref=${REGISTRY}/labelstudio:latest"]
}

target "trainer" {
  inherits   = ["published"]
  contexts   = CONTAINED != "" ? { "labelloop/base:${COMPOSE_ACCELERATOR}" = "target:base" } : {}
  tags       = ["${REGISTRY}/trainer:${TRAINER_VERSION}", "${REGISTRY}/trainer:${FLAVOUR}"]
  cache-from = ["type=registry,ref=${REGISTRY}/trainer:${FLAVOUR}"]
}

target "mlbackend" {
  inherits   = ["published"]
  contexts   = CONTAINED != "" ? { "labelloop/base:${COMPOSE_ACCELERATOR}" = "target:base" } : {}
  tags       = ["${REGISTRY}/mlbackend:${MLBACKEND_VERSION}", "${REGISTRY}/mlbackend:${FLAVOUR}"]
  cache-from = ["type=registry,ref=${REGISTRY}/mlbackend:${FLAVOUR}"]
}
