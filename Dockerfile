# mien in a container, for linux/amd64 and linux/arm64: docs/container.md tells how to build and run it.
# Python stays at one minor version, for which the TFLite runtime has wheels on both platforms.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim-trixie AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY edge/mien edge/mien
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
# The environment gets no pip of its own, so none of it stays. OpenCV with windows needs libGL, which a slim system
# lacks, and nobody sees windows here: the build without them takes its place, in the same version. Both own the same
# files: neither may be left in part.
# hadolint ignore=DL3013
RUN python -m venv --without-pip /opt/mien \
    && export PIP_PYTHON=/opt/mien/bin/python PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    && pip install "mien[edge,web,mqtt] @ file://$(echo /wheels/mien-*.whl)" \
    && version="$(pip show opencv-python | sed -n 's/^Version: //p')" \
    && pip uninstall --yes opencv-python \
    && pip install --no-deps "opencv-python-headless<=${version}" \
    && /opt/mien/bin/python -c 'import cv2; cv2.CascadeClassifier'

FROM python:${PYTHON}-slim-trixie
# Cameras (/dev/video*) belong to the group video. What mien fetches or calibrates is kept in /var/lib/mien.
RUN useradd --uid 10001 --groups video --no-create-home --home-dir /nonexistent mien \
    && install --directory --owner mien --group mien /var/lib/mien
COPY --from=build /opt/mien /opt/mien
# A published port leads to the container's own address, not to its loopback. mien listens there only with a token
# (MIEN_WEB_TOKEN) or MIEN_WEB_NO_AUTH=true: without either it says so and ends.
ENV PATH=/opt/mien/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    XDG_DATA_HOME=/var/lib \
    MIEN_WEB_HOST=0.0.0.0 \
    MIEN_WEB_PORT=8080
# As a number, so that Kubernetes can see that it is not root.
USER 10001
VOLUME /var/lib/mien
EXPOSE 8080
# It needs no token; 503 (the camera is lost) and no answer are both unhealthy. A proxy for the internet is not asked.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-c", "import os, urllib.request as web; web.build_opener(web.ProxyHandler({})).open(f\"http://127.0.0.1:{os.environ['MIEN_WEB_PORT']}/healthz\", timeout=5)"]
ENTRYPOINT ["mien"]
CMD ["run", "--output", "web"]
