# The commands and all that they need, without a .venv.
#
#   docker build --tag cnnkeras .                                     for the CPU
#   docker build --tag cnnkeras:cuda --build-arg DEVICE=cuda .        for an NVIDIA GPU: CUDA is in the lock, the driver is the machine's
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/project" cnnkeras cnnkeras repro
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/project" --gpus all cnnkeras:cuda cnnkeras repro
FROM python:3.11-slim-bookworm

ARG DEVICE=cpu

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory /project

# Whoever runs it has a name and a folder to write to, which DVC asks for, whatever their number is.
ENV HOME=/tmp USER=cnnkeras PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /project

COPY requirements-${DEVICE}.lock ./
RUN python -m pip install -qq --no-deps --require-hashes --use-pep517 -r requirements-${DEVICE}.lock

# The project itself, for use without a volume; with one, its code is what runs.
COPY . .
RUN python -m pip install -qq --no-deps --no-build-isolation --editable . \
    && dvc config --quiet --local core.no_scm true \
    && chmod -R a+rwX /project

USER 1000:1000
CMD ["cnnkeras", "--help"]
