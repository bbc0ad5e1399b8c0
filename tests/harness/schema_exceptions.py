# SPDX-License-Identifier: Apache-2.0
"""Where Docker's engine and its own swagger file differ, Docker's engine is followed; each entry with its reason. And
what older API versions answered otherwise than the file, which tells of the last one only."""

# The file names few of the refusals that are the same everywhere.
ANY_STATUS = {
    400,  # a query, name or body that cannot be read
    408, 411, 413, 414, 417, 431,  # of HTTP, before there is an endpoint
    501,  # what Docker has and this release does not
    503,  # the engine is ending, or too busy
}

STATUSES = {
    ("GET /containers/json", 404),  # the container of a filter 'before' or 'since'
    ("GET /images/json", 404),  # the image of a filter 'before' or 'since'
    ("GET /images/get", 404), ("GET /images/{name}/get", 404),  # no such image, or not for that platform
    ("GET /containers/{id}/top", 409),  # it does not run
    ("GET /containers/{id}/archive", 409),  # it is being removed
    ("GET /containers/{id}/export", 409),
    ("POST /containers/{id}/start", 409),  # it is being removed, or a container it shares a namespace with does not run
    ("POST /containers/{id}/resize", 409),  # it does not run
    ("POST /containers/{id}/restart", 409),
    ("POST /containers/{id}/stop", 409),
    ("POST /containers/{id}/pause", 409),  # it does not run, or is paused already
    ("POST /containers/{id}/unpause", 409),
    ("POST /containers/{id}/attach", 409),  # it is paused
    ("GET /containers/{id}/attach/ws", 409),
    ("POST /containers/{id}/update", 409),  # options that exclude each other
    ("POST /exec/{id}/start", 101),  # the file forgot the upgrade
    ("POST /exec/{id}/start", 500),
    ("POST /exec/{id}/resize", 409),  # it does not run
    ("POST /images/{name}/tag", 409),
    ("GET /distribution/{name}/json", 403),  # the registry's own status
    ("GET /distribution/{name}/json", 404),
    ("GET /distribution/{name}/json", 429),
    ("POST /auth", 401),
    ("POST /volumes/create", 404),  # the driver
    ("POST /secrets/{id}/update", 404),
}

# Ours beside Docker's: (method, path as a regular expression).
OWN_ROUTES = {
    ("DELETE", "/containers/[^/]+/logs"),
    ("GET", "/distribution/.+/(manifest|blob|referrers)"), ("PUT", "/distribution/.+/(manifest|blob)"), ("POST", "/distribution/.+/blob"),
    ("POST", "/images/.+/untag"), ("GET", "/images/.+/changes"),
    ("POST", "/caisson/check"), ("GET", "/caisson/prunable"), ("GET", "/caisson/image-gc"), ("POST", "/caisson/image-gc"),
    ("GET", "/caisson/registry"), ("POST", "/caisson/registry"), ("DELETE", "/caisson/registry"), ("POST", "/caisson/registry/prune"),
}

CONTENT_TYPES = {
    # Errors of these come before the stream and are JSON; the file names what the stream has.
    "POST /containers/{id}/resize": ["text/plain", "application/json"],
    # The file has none for an upgrade; a browser needs none.
    "GET /containers/{id}/attach/ws": ["", "application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream"],
}

# Several JSON values, one behind the other; where the file has no schema for one, any object.
STREAMS = {
    "GET /events": {"$ref": "#/definitions/EventMessage"},
    "GET /containers/{id}/stats": {"$ref": "#/definitions/ContainerStatsResponse"},
    "POST /images/create": {"$ref": "#/definitions/CreateImageInfo"},
    "POST /images/{name}/push": {"$ref": "#/definitions/PushImageInfo"},
    "POST /images/load": {"type": "object"},
    "POST /build": {"$ref": "#/definitions/BuildInfo"},
}

# An empty list as null for the whole body.
NULL_BODIES = {"GET /containers/{id}/changes"}

# Go's empty lists and maps are null, and Docker's engine shows them so.
NULLABLE = {
    ".ContainersDeleted", ".ImagesDeleted", ".VolumesDeleted", ".NetworksDeleted", ".CachesDeleted",  # of a prune that found nothing
    "VolumeListResponse.Warnings",
    "ImageSummary.Labels",
    "EndpointSettings.Links", "EndpointSettings.Aliases", "EndpointSettings.DNSNames",
    "ContainerConfig.Entrypoint", "ContainerConfig.Volumes", "ContainerConfig.Cmd", "ContainerConfig.Env",
    "HostConfig.Binds", "HostConfig.VolumesFrom", "HostConfig.CapAdd", "HostConfig.CapDrop", "HostConfig.ExtraHosts", "HostConfig.GroupAdd",
    "HostConfig.Links", "HostConfig.SecurityOpt", "HostConfig.DeviceCgroupRules", "HostConfig.DeviceRequests", "HostConfig.MemorySwappiness",
    "HostConfig.OomKillDisable",
    "ImageConfig.Cmd", "ImageConfig.Entrypoint", "ImageConfig.Env", "ImageConfig.Labels", "ImageConfig.Volumes", "ImageConfig.OnBuild",
    "IPAM.Options", "SystemInfo.Warnings", "PluginsInfo.Authorization",
    ".ExitCode",  # of an exec that has not ended
    "HistoryResponseItem.Tags", "ImageHistoryResponseItem.Tags", ".Tags",
}

TYPES = set()
ENUM_VALUES = set()
OUT_OF_RANGE = set()
NO_TIME = set()

# Members that the file does not name.
UNNAMED = {
    # What Docker's engine really sends, and its Python client looks for.
    "IDResponse.ID",
    # Ours, in /system/df: what all logs take together.
    ".LogsSize", ".OtherBlobsSize", ".PartialSize", ".CopiesSize",
    # Gone from the documentation long ago, and sent up to 1.51: old clients need them.
    "EventMessage.status", "EventMessage.id", "EventMessage.from",
    # Docker's engine sends a line of progress with the layer's name.
    "PushImageInfo.id", "PushImageInfo.aux", "CreateImageInfo.aux",
}

# Up to which version (not included) an answer had a member.
OLDER = {
    "SystemInfo.ExecutionDriver": 25,
    "SystemDataUsageResponse.BuilderSize": 42, ".BuilderSize": 42,
    "HostConfig.KernelMemory": 42, "HostConfig.KernelMemoryTCP": 42,
    "ImageSummary.VirtualSize": 44, "ImageInspect.VirtualSize": 44,
    "ImageInspect.Container": 45, "ImageInspect.ContainerConfig": 45,
    "RegistryServiceConfig.AllowNondistributableArtifactsCIDRs": 49, "RegistryServiceConfig.AllowNondistributableArtifactsHostnames": 49,
    "Commit.Expected": 49,
    "SystemInfo.BridgeNfIptables": 50, "SystemInfo.BridgeNfIp6tables": 50,
    **{"ImageConfig." + name: 50 for name in ("Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce", "Image",
                                              "NetworkDisabled", "MacAddress", "StopTimeout")},
}


# Named as required by mistake: it stands in Size.
MISSING = {"ImageManifestSummary.ImageData.UnpackedSize"}


def may_be_missing(where, version):
    return where in MISSING


def may_be_there(where, version):
    return where in UNNAMED or version < OLDER.get(where, 0)
