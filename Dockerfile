# The service alone: no Prefect, no MLflow, no training library. How to run it: docs/deploy.md.
FROM python:3.11-slim AS build
WORKDIR /build
COPY requirements-serving.lock ./
RUN python -m venv /opt/treadle
RUN /opt/treadle/bin/python -m pip install --no-cache-dir --no-input --disable-pip-version-check -r requirements-serving.lock
COPY console /app/console
COPY serving /app/serving
COPY treadle /app/treadle
RUN /opt/treadle/bin/python -m compileall -q /app
RUN /opt/treadle/bin/python -m pip uninstall --yes --quiet setuptools pip

FROM python:3.11-slim
RUN groupadd --gid 10001 treadle && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin treadle
# Every folder that may be a mount of its own, so that a new volume has them with this owner.
RUN install --directory --owner=treadle --group=treadle --mode=0750 /data /data/.treadle /data/.treadle/serving \
    /data/.treadle/signing /data/.treadle/signing/trusted /data/mlruns /data/mlruns/bundles
COPY --from=build /opt/treadle /opt/treadle
COPY --from=build /app /app
# Nothing is written but below TREADLE_HOME, so the rest may be read-only. Without a key it refuses to listen on 0.0.0.0.
ENV PATH=/opt/treadle/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENV TREADLE_HOME=/data TREADLE_HOST=0.0.0.0 TREADLE_API_PORT=8000
WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["python", "-m", "serving.health_check"]
CMD ["python", "-m", "serving"]
